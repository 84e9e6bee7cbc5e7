static void sparse_filter(const struct map *target, uint8_t *out, const struct rule *rule, int filter, int32_t *sums)
{
    int32_t multiplier = rule->multipliers[filter], offset = offset_of(rule, filter);
    int x;

    for (x = 0; x < target->width; x++) {
        put(target, out, x * target->channels + filter, requantized(rule, sums[x], multiplier, offset));
        sums[x] = 0;
    }
}

/* Weights that are not zero, each an entry of `format >> 4` bytes: a gap above `format & 15` bits of a weight in two's
 * complement.  A gap counts the zeros since the entry before, over filters x height x (width x channels). */
static void conv_sparse(const struct operation *step, int row)
{
    const struct conv *conv = step->detail;
    const struct map *source = &maps[step->source], *target = &maps[step->target];
    int stride, x, ky = 0, filter = 0, at = -1, span = conv->width * source->channels, hop = conv->stride * source->channels;
    int bits = conv->format & 15, bytes = conv->format >> 4, half = 1 << (bits - 1);
    const uint8_t *rows = window_rows(step, conv, row, &stride), *entry = conv->weights;
    int32_t *sums = (int32_t *)(void *)(arena.bytes + conv->scratch) + (conv->direct ? 0 : (stride * conv->height + 3) / 4);
    uint8_t *out = row_of(target, row);

    for (x = 0; x < target->width; x++)
        sums[x] = 0;
    for (;;) {
        int code = bytes == 1 ? entry[0] : entry[0] | entry[1] << 8;
        int weight = ((code & (2 * half - 1)) ^ half) - half;
        const uint8_t *numbers;

        entry += bytes;
        at += 1 + (code >> bits);
        while (at >= span) {
            at -= span;
            if (++ky == conv->height) {
                sparse_filter(target, out, &conv->rule, filter, sums);
                ky = 0;
                if (++filter == target->channels)
                    return;
            }
        }
        numbers = rows + ky * stride + at;
        for (x = 0; x < target->width; x++)
            sums[x] += weight * numbers[x * hop];
    }
}
