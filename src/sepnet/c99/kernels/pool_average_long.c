/* pool_average() where counts need more than 16 bits, and perhaps sums more than 32. */
static void pool_average_long(const struct operation *step, int row)
{
    const struct pool *pool = step->detail;
    const struct map *source = &maps[step->source], *target = &maps[step->target];
    const int32_t *counts = (const void *)pool->counts;
    int x, channel, ky, kx, channels = source->channels, top = row * step->stride - step->top;
    int low = top < 0 ? 0 : top, high = top + pool->height < source->height ? top + pool->height : source->height;
    uint8_t *out = row_of(target, row);

    for (x = 0; x < target->width; x++, out += channels) {
        int left = x * pool->stride - pool->left, at = 0;
        int from = left < 0 ? 0 : left, to = left + pool->width < source->width ? left + pool->width : source->width;

        while (counts[at] != (high - low) * (to - from))
            at++;
        for (channel = 0; channel < channels; channel += 16) { /* of 64 bits; few, for small stacks */
            int count = channels - channel < 16 ? channels - channel : 16, each;
            int64_t sums[16] = {0};

            for (ky = low; ky < high; ky++)
                for (kx = from; kx < to; kx++)
                    for (each = 0; each < count; each++)
                        sums[each] += row_of(source, ky)[kx * channels + channel + each];
            for (each = 0; each < count; each++)
                out[channel + each] = (uint8_t)requantized_long(&pool->rule, sums[each], pool->rule.multipliers[at], offset_of(&pool->rule, at));
        }
    }
}
