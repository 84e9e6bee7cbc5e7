#if !defined(__thumb__)
static void keep_largest(uint8_t *restrict out, const uint8_t *restrict in, int count)
{
    int at;

    for (at = 0; at < count; at++)
        out[at] = in[at] > out[at] ? in[at] : out[at];
}
#endif

static void pool_max(const struct operation *step, int row)
{
    const struct pool *pool = step->detail;
    const struct map *source = &maps[step->source], *target = &maps[step->target];
    int x, ky, kx, channels = source->channels, top = row * step->stride - step->top;
    uint8_t *out = row_of(target, row);

    for (x = 0; x < target->width; x++)
        memset(out + x * channels, 0, (size_t)channels);
    for (ky = top < 0 ? -top : 0; ky < pool->height && top + ky < source->height; ky++) {
        const uint8_t *in = row_of(source, top + ky);

        for (x = 0; x < target->width; x++)
            for (kx = 0; kx < pool->width; kx++) {
                int column = x * pool->stride - pool->left + kx;

                if (column < 0 || column >= source->width)
                    continue;
#if defined(__thumb__)
                int channel;

                for (channel = 0; channel < channels; channel++)
                    if (in[column * channels + channel] > out[x * channels + channel])
                        out[x * channels + channel] = in[column * channels + channel];
#else
                keep_largest(out + x * channels, in + column * channels, channels);
#endif
            }
    }
}
