/* Zeros: `left` columns and `first` channels before; rows as the operation says. */
struct pad {
    uint16_t first, left;
};

static void pad(const struct operation *step, int row)
{
    const struct pad *pad = step->detail;
    const struct map *source = &maps[step->source], *target = &maps[step->target];
    int x, from = row - step->top;
    uint8_t *out = row_of(target, row);

    memset(out, source->zero, (size_t)target->width * target->channels);
    if (from < 0 || from >= source->height)
        return;
    for (x = 0; x < source->width; x++)
        memcpy(out + (pad->left + x) * target->channels + pad->first, row_of(source, from) + x * source->channels, source->channels);
}
