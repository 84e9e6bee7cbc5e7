static void lookup(const struct operation *step, int row)
{
    const uint8_t *table = step->detail, *in = row_of(&maps[step->source], row);
    uint8_t *out = row_of(&maps[step->target], row);
    int at, count = maps[step->target].width * maps[step->target].channels;

    for (at = 0; at < count; at++)
        out[at] = table[in[at]];
}
