/* The rule has a multiplier and an offset for each number of numbers that are inside of the map. */
static void pool_average(const struct operation *step, int row)
{
    const struct pool *pool = step->detail;
    const struct map *source = &maps[step->source], *target = &maps[step->target];
    int x, channel, ky, kx, channels = source->channels, top = row * step->stride - step->top;
    int low = top < 0 ? 0 : top, high = top + pool->height < source->height ? top + pool->height : source->height;
    uint8_t *out = row_of(target, row);

    for (x = 0; x < target->width; x++) {
        int left = x * pool->stride - pool->left, at = 0;
        int from = left < 0 ? 0 : left, to = left + pool->width < source->width ? left + pool->width : source->width;

        while (pool->counts[at] != (high - low) * (to - from))
            at++;
        for (channel = 0; channel < channels; channel++) {
            int32_t sum = 0;

            for (ky = low; ky < high; ky++) {
                const uint8_t *in = row_of(source, ky) + channel;

                for (kx = from; kx < to; kx++)
                    sum += in[kx * channels];
            }
            out[x * channels + channel] = (uint8_t)requantized(&pool->rule, sum, pool->rule.multipliers[at], offset_of(&pool->rule, at));
        }
    }
}
