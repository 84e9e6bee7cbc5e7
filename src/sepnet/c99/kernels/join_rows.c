/* Detail: the numbers of the maps that follow one another, 65535 behind the last. */
static void join_rows(const struct operation *step, int row)
{
    const uint16_t *source = step->detail;
    const struct map *target = &maps[step->target];
    uint8_t *out = row_of(target, row);

    while (row >= maps[*source].height)
        row -= maps[*source++].height;
    memcpy(out, row_of(&maps[*source], row), (size_t)target->width * target->channels);
}
