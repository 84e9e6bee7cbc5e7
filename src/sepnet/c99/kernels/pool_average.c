#if !defined(__thumb__)
static void sum_up(int32_t *restrict sums, const uint8_t *restrict in, int count)
{
    int at;

    for (at = 0; at < count; at++)
        sums[at] += in[at];
}
#endif

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
#if !defined(__thumb__)
        for (channel = 0; channel < channels; channel += PART) { /* in parts, for compilers that make vectors */
            int count = channels - channel < PART ? channels - channel : PART, each;
            int32_t sums[PART] = {0}, multiplier = pool->rule.multipliers[at], offset = offset_of(&pool->rule, at);

            for (ky = low; ky < high; ky++)
                for (kx = from; kx < to; kx++)
                    sum_up(sums, row_of(source, ky) + kx * channels + channel, count);
            for (each = 0; each < count; each++)
                out[x * channels + channel + each] = (uint8_t)requantized(&pool->rule, sums[each], multiplier, offset);
        }
#else
        for (channel = 0; channel < channels; channel++) {
            int32_t sum = 0;

            for (ky = low; ky < high; ky++) {
                const uint8_t *in = row_of(source, ky) + channel;

                for (kx = from; kx < to; kx++)
                    sum += in[kx * channels];
            }
            out[x * channels + channel] = (uint8_t)requantized(&pool->rule, sum, pool->rule.multipliers[at], offset_of(&pool->rule, at));
        }
#endif
    }
}
