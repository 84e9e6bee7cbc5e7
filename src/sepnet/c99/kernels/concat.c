/* Detail: the numbers of the maps that follow one another, 65535 behind the last. */
static void concat(const struct operation *step, int row)
{
    const uint16_t *source = step->detail;
    const struct map *target = &maps[step->target];
    uint8_t *out = row_of(target, row);
    int x;

    for (; *source != 65535; out += maps[*source++].channels)
        for (x = 0; x < target->width; x++)
            memcpy(out + x * target->channels, row_of(&maps[*source], row) + x * maps[*source].channels, maps[*source].channels);
}
