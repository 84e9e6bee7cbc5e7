static uint16_t rows_done[MODEL_LONGEST_SEGMENT];

/* Whether a value that an operation of the segment makes lacks rows up to `last`, of those it has. */
static int lacks(int map, int first, int last)
{
    if (last >= maps[map].height)
        last = maps[map].height - 1;
    return map > first && rows_done[map - first - 1] <= last;
}

/* An operation that has to make a row before operation `at` can; `at` itself if none has to. */
static int before(int at, int first)
{
    const struct operation *step = &operations[at];
    int last = rows_done[at - first] * step->stride - step->top + step->reach;

    return lacks(step->source, first, last) ? step->source - 1 : lacks(step->second, first, last) ? step->second - 1 : at;
}

/* The last operation of a segment makes its next row as soon as what it reads is there; before that, whatever it lacks is
 * made, one row at a time. */
void model_run(void)
{
    const uint8_t *count = segments;
    int first = 0, wanted, at;

    for (; count < segments + sizeof segments; first += *count++) {
        memset(rows_done, 0, sizeof rows_done);
        for (wanted = first + *count - 1; wanted >= first; wanted--)
            while (rows_done[wanted - first] < maps[operations[wanted].target].height) {
                for (at = wanted; before(at, first) != at; at = before(at, first))
                    ;
                make_row(&operations[at], rows_done[at - first]++);
            }
    }
}
