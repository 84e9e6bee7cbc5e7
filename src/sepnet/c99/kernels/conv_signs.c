/* Weights of one bit.  Two output columns, x and x + half, share a word of two 16-bit sums.  For four channels of a pair of
 * columns a table holds the sums of all 16 subsets, so that a lookup and an addition are eight multiply-accumulates:
 * sum of signs * numbers = 2 * (sum where the sign is +) - (sum of all).
 * table[(group * 16 + subset) * columns + column]; `format` groups of four channels at a time, so few that 16 bits suffice. */
static void subset_sums(uint32_t *table, const uint8_t *a, const uint8_t *b, int count, int columns)
{
    uint32_t x0, x1, x2, x3, x01;

    for (; count > 0; a += 4, b += 4, count -= 4) {
        x0 = a[0] | (uint32_t)b[0] << 16;
        x1 = count < 2 ? 0 : a[1] | (uint32_t)b[1] << 16;
        x2 = count < 3 ? 0 : a[2] | (uint32_t)b[2] << 16;
        x3 = count < 4 ? 0 : a[3] | (uint32_t)b[3] << 16;
        x01 = x0 + x1;
        *table = 0, table += columns;
        *table = x0, table += columns;
        *table = x1, table += columns;
        *table = x01, table += columns;
        *table = x2, table += columns;
        *table = x2 + x0, table += columns;
        *table = x2 + x1, table += columns;
        *table = x2 + x01, table += columns;
        x2 += x3;
        *table = x3, table += columns;
        *table = x3 + x0, table += columns;
        *table = x3 + x1, table += columns;
        *table = x3 + x01, table += columns;
        *table = x2, table += columns;
        *table = x2 + x0, table += columns;
        *table = x2 + x1, table += columns;
        *table = x2 + x01, table += columns;
    }
}

#define LOOK_UP(subset, column) \
    do { \
        const uint32_t *sums_ = table + (subset) * columns + (column); \
        s0 += sums_[0]; \
        s1 += sums_[HOP]; \
        s2 += sums_[2 * HOP]; \
        s3 += sums_[3 * HOP]; \
    } while (0)

#define SPLIT(sum, at) (sums[at] += (int32_t)((sum) & 65535), sums[half + (at)] += (int32_t)((sum) >> 16))

/* Adds to four pairs of sums of a filter; its signs are nibbles, groups x kernel width. */
#define FILTER_OF_SIGNS(name) \
    static void name(const uint32_t *table, const uint8_t *signs, int32_t *sums, int groups, int columns, int half, \
                     int width, int right) \
    { \
        uint32_t s0 = 0, s1 = 0, s2 = 0, s3 = 0; \
        int kx, odd = 0; \
        if (width == 3 && right == 1) \
            for (; groups >= 2; groups -= 2, signs += 3) { \
                LOOK_UP(signs[0] & 15, 0); \
                LOOK_UP(signs[0] >> 4, 1); \
                LOOK_UP(signs[1] & 15, 2); \
                table += 16 * columns; \
                LOOK_UP(signs[1] >> 4, 0); \
                LOOK_UP(signs[2] & 15, 1); \
                LOOK_UP(signs[2] >> 4, 2); \
                table += 16 * columns; \
            } \
        for (; groups > 0; groups--, table += 16 * columns) \
            for (kx = 0; kx < width; kx++, signs += odd, odd ^= 1) \
                LOOK_UP(*signs >> 4 * odd & 15, kx * right); \
        SPLIT(s0, 0); \
        SPLIT(s1, 1); \
        SPLIT(s2, 2); \
        SPLIT(s3, 3); \
    }

#define HOP 1
FILTER_OF_SIGNS(filter_of_signs)
#undef HOP
#if MODEL_SIGNS_STRIDE > 1
#define HOP MODEL_SIGNS_STRIDE
FILTER_OF_SIGNS(filter_of_signs_strided)
#undef HOP
#endif

/* Tables of the pairs of columns of one source row, `from` on in each pixel; 0 stands for a row outside of the map. */
static void table_of_row(const struct operation *step, const uint8_t *in, int from, int count, uint32_t *table, int columns, int apart)
{
    const struct conv *conv = step->detail;
    const struct map *source = &maps[step->source];
    const uint8_t *zeros = arena.bytes + conv->scratch;
    int column, channels = source->channels;

    for (column = 0; column < columns; column++) {
        int left = column - conv->left, right = left + apart;
        const uint8_t *a = zeros, *b = zeros;

        if (in && left >= 0 && left < source->width)
            a = in + left * channels + from;
        if (in && right >= 0 && right < source->width)
            b = in + right * channels + from;
        subset_sums(table + column, a, b, count, columns);
    }
}

/* Sums of all numbers in each window. */
static void add_totals(const uint32_t *table, int32_t *totals, int groups, int columns, int half, const struct conv *conv)
{
    int x, group, kx;

    for (x = 0; x < half; x++) {
        uint32_t sum = 0;

        for (group = 0; group < groups; group++)
            for (kx = 0; kx < conv->width; kx++)
                sum += table[(group * 16 + 15) * columns + x * conv->stride + kx * conv->right];
        totals[x] += (int32_t)(sum & 65535);
        totals[half + x] += (int32_t)(sum >> 16);
    }
}

static void conv_signs(const struct operation *step, int row)
{
    const struct conv *conv = step->detail;
    const struct rule *rule = &conv->rule;
    const struct map *source = &maps[step->source], *target = &maps[step->target];
    const uint8_t *signs = conv->weights;
    int channels = source->channels / conv->groups, filters = target->channels / conv->groups;
    int half = (target->width + 7) / 8 * 4, part, ky, from, filter, x;
    int columns = (half - 1) * conv->stride + (conv->width - 1) * conv->right + 1;
    int32_t *totals = (int32_t *)(void *)(arena.bytes + conv->scratch + (channels + 3) / 4 * 4), *sums = totals + 2 * half;
    uint32_t *table = (uint32_t *)(void *)(sums + filters * 2 * half);
    uint8_t *out = row_of(target, row);

    for (part = 0; part < conv->groups; part++) {
        memset(arena.bytes + conv->scratch, source->zero, (size_t)channels);
        memset(totals, 0, (size_t)(filters + 1) * 2 * (size_t)half * sizeof *totals);
        for (ky = 0; ky < conv->height; ky++) {
            int at = row * step->stride - step->top + ky * conv->down;
            const uint8_t *in = at < 0 || at >= source->height ? 0 : row_of(source, at);

            for (from = 0; from < channels; from += 4 * conv->format) {
                int count = channels - from < 4 * conv->format ? channels - from : 4 * conv->format;
                int groups = (count + 3) / 4;

                table_of_row(step, in, part * channels + from, count, table, columns, half * conv->stride);
                add_totals(table, totals, groups, columns, half, conv);
                for (filter = 0; filter < filters; filter++, signs += (groups * conv->width + 1) / 2)
                    for (x = 0; x < half; x += 4)
#if MODEL_SIGNS_STRIDE > 1
                        if (conv->stride > 1)
                            filter_of_signs_strided(table + x * conv->stride, signs, sums + filter * 2 * half + x, groups,
                                                    columns, half, conv->width, conv->right);
                        else
#endif
                            filter_of_signs(table + x, signs, sums + filter * 2 * half + x, groups, columns, half,
                                            conv->width, conv->right);
            }
        }
        for (filter = 0; filter < filters; filter++) {
            int at = part * filters + filter;
            int32_t multiplier = rule->multipliers[at], offset = offset_of(rule, at);

            for (x = 0; x < target->width; x++)
                put(target, out, x * target->channels + at,
                    requantized(rule, 2 * sums[filter * 2 * half + x] - totals[x], multiplier, offset));
        }
    }
}
