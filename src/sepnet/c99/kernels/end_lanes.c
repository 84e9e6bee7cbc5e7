void model_run(void)
{
    const struct operation *step = operations;
    int row;

    for (; step < operations + sizeof operations / sizeof *operations; step++)
        if (step->kind == MODEL_LANES)
            conv_lanes(step);
        else
            for (row = 0; row < maps[step->target].height; row++)
                make_row(step, row);
}
