/* Columns from `left` in steps of `stride`, channels from `first` in steps of `hop`; rows as the operation says. */
struct slice {
    uint16_t first, left;
    uint8_t stride, hop;
};

static void slice(const struct operation *step, int row)
{
    const struct slice *slice = step->detail;
    const struct map *source = &maps[step->source], *target = &maps[step->target];
    const uint8_t *in = row_of(source, row * step->stride + step->reach) + slice->first;
    uint8_t *out = row_of(target, row);
    int x, channel;

#if !defined(__thumb__)
    if (slice->hop == 1) {
        int run = slice->stride == 1 && target->channels == source->channels ? target->width : 1, size = run * target->channels;

        for (x = 0; x < target->width; x += run, out += size)
            memcpy(out, in + (slice->left + x * slice->stride) * source->channels, (size_t)size);
        return;
    }
#endif
    for (x = 0; x < target->width; x++)
        for (channel = 0; channel < target->channels; channel++)
            *out++ = in[(slice->left + x * slice->stride) * source->channels + channel * slice->hop];
}
