/* conv_sparse() where sums need more than 32 bits: after each 65536 products, which add up to less than 2^31 - 2^16 whatever they
 * are, all but the low 16 bits of a sum move to carried[x]. */
static void carry(int32_t *sums, int32_t *carried, int width)
{
    int x;

    for (x = 0; x < width; x++) {
        carried[x] += sums[x] >> 16;
        sums[x] &= 65535;
    }
}

static void sparse_filter_long(const struct map *target, uint8_t *out, const struct rule *rule, int filter, int32_t *sums, int32_t *carried)
{
    int32_t multiplier = rule->multipliers[filter], offset = offset_of(rule, filter);
    int x;

    for (x = 0; x < target->width; x++) {
        put(target, out, x * target->channels + filter, requantized_long(rule, (int64_t)carried[x] * 65536 + sums[x], multiplier, offset));
        sums[x] = carried[x] = 0;
    }
}

static void conv_sparse_long(const struct operation *step, int row)
{
    const struct conv *conv = step->detail;
    const struct map *source = &maps[step->source], *target = &maps[step->target];
    int stride, x, ky = 0, filter = 0, at = -1, span = conv->width * source->channels, hop = conv->stride * source->channels;
    int bits = conv->format & 15, bytes = conv->format >> 4, half = 1 << (bits - 1);
    const uint8_t *rows = window_rows(step, conv, row, &stride), *entry = conv->weights;
    int32_t *sums = (int32_t *)(void *)(arena.bytes + conv->scratch) + (conv->direct ? 0 : (stride * conv->height + 3) / 4);
    int32_t *carried = sums + target->width;
    uint32_t count = 0;
    uint8_t *out = row_of(target, row);

    memset(sums, 0, (size_t)(2 * target->width) * sizeof *sums);
    for (;;) {
        int code = bytes == 1 ? entry[0] : entry[0] | entry[1] << 8;
        int weight = ((code & (2 * half - 1)) ^ half) - half;
        const uint8_t *numbers;

        entry += bytes;
        at += 1 + (code >> bits);
        while (at >= span) {
            at -= span;
            if (++ky == conv->height) {
                sparse_filter_long(target, out, &conv->rule, filter, sums, carried);
                ky = 0;
                if (++filter == target->channels)
                    return;
            }
        }
        numbers = rows + ky * stride + at;
        for (x = 0; x < target->width; x++)
            sums[x] += weight * numbers[x * hop];
        if ((++count & 65535) == 0)
            carry(sums, carried, target->width);
    }
}
