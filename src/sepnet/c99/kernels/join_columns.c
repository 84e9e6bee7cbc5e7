/* Detail: the numbers of the maps that follow one another, 65535 behind the last. */
static void join_columns(const struct operation *step, int row)
{
    const uint16_t *source = step->detail;
    uint8_t *out = row_of(&maps[step->target], row);

    for (; *source != 65535; source++) {
        size_t size = (size_t)maps[*source].width * maps[*source].channels;

        memcpy(out, row_of(&maps[*source], row), size);
        out += size;
    }
}
