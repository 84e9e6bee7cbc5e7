/* Weights of one bit.  Two output columns, x and x + half, share a word of two 16-bit sums.  For four channels of a pair of
 * columns a table holds the sums of all 16 subsets, so that a lookup and an addition are eight multiply-accumulates:
 * sum of signs * numbers = 2 * (sum where the sign is +) - (sum of all).
 * table[(group * 16 + subset) * columns + column]; `format` & 127 groups of four channels at a time, so few that 16 bits hold
 * the sum of all; those of the + signs are moved to 32 bits after each table if `format` & 128. */
/* How to make the sums of `filters` filters for four pairs of columns: there is a table for each group of channels, and a
 * nibble of signs for each filter, group and column of the kernel; those columns lie `shifts` apart in a table.
 * sums[filter * hop + 0 .. 3] are added to.  An assembly routine below knows this layout. */
struct lookups {
    const uint32_t *table;
    const uint8_t *signs;
    uint32_t bytes, columns, second, third, filters, hop;
    uint32_t *sums;
    uint32_t shifts[MODEL_SIGNS_WIDTH];
};

#if MODEL_SIGNS_WIDTH == 3 && defined(__GNUC__) && defined(__thumb__)
#define MODEL_THUMB 1
uint32_t model_subset_sums(uint32_t *table, const uint8_t *a, const uint8_t *b, int groups, int bytes);
void model_look_up_3(const struct lookups *its);
#else
#define MODEL_THUMB 0
#endif

static uint32_t subset_sums(uint32_t *table, const uint8_t *a, const uint8_t *b, int count, int columns)
{
    uint32_t all = 0;
#if !MODEL_THUMB || MODEL_SIGNS_TAIL
    uint32_t x0, x1, x2, x3, x01;
#endif

#if MODEL_THUMB
    all = model_subset_sums(table, a, b, count / 4, 4 * columns);
    table += 16 * columns * (count / 4), a += count & ~3, b += count & ~3, count &= 3;
#endif
#if !MODEL_THUMB || MODEL_SIGNS_TAIL
    for (; count > 0; a += 4, b += 4, count -= 4) {
        x0 = a[0] | (uint32_t)b[0] << 16;
        x1 = count < 2 ? 0 : a[1] | (uint32_t)b[1] << 16;
        x2 = count < 3 ? 0 : a[2] | (uint32_t)b[2] << 16;
        x3 = count < 4 ? 0 : a[3] | (uint32_t)b[3] << 16;
        x01 = x0 + x1;
        table[0] = 0, table += columns;
        table[0] = x0, table += columns;
        table[0] = x1, table += columns;
        table[0] = x01, table += columns;
        table[0] = x2, table += columns;
        table[0] = x2 + x0, table += columns;
        table[0] = x2 + x1, table += columns;
        table[0] = x2 + x01, table += columns;
        x2 += x3;
        table[0] = x3, table += columns;
        table[0] = x3 + x0, table += columns;
        table[0] = x3 + x1, table += columns;
        table[0] = x3 + x01, table += columns;
        table[0] = x2, table += columns;
        table[0] = x2 + x0, table += columns;
        table[0] = x2 + x1, table += columns;
        table[0] = x2 + x01, table += columns;
        all += x2 + x01;
    }
#endif
    return all;
}

#define LOOK_UP(subset, shift) \
    do { \
        const uint32_t *entry_ = table + (subset) * columns + (shift); \
        s0 += entry_[0]; \
        s1 += entry_[1]; \
        s2 += entry_[2]; \
        s3 += entry_[3]; \
    } while (0)

#if MODEL_SIGNS_OTHER
static void look_up(const struct lookups *its, int groups, int width)
{
    const uint8_t *row = its->signs;
    uint32_t filter, columns = its->columns, *sums = its->sums;

    for (filter = 0; filter < its->filters; filter++, row += its->bytes, sums += its->hop) {
        const uint32_t *table = its->table;
        const uint8_t *signs = row;
        uint32_t s0 = sums[0], s1 = sums[1], s2 = sums[2], s3 = sums[3];
        int kx, group, odd = 0;

        for (group = 0; group < groups; group++, table += 16 * columns)
            for (kx = 0; kx < width; kx++, signs += odd, odd ^= 1)
                LOOK_UP((uint32_t)*signs >> 4 * odd & 15, its->shifts[kx]);
        sums[0] = s0, sums[1] = s1, sums[2] = s2, sums[3] = s3;
    }
}
#endif

/* The same for kernels three wide and an even number of groups. */
#if !MODEL_THUMB
static void model_look_up_3(const struct lookups *its)
{
    const uint8_t *signs = its->signs;
    uint32_t filter, columns = its->columns, second = its->second, third = its->third, *sums = its->sums;

    for (filter = 0; filter < its->filters; filter++, sums += its->hop) {
        const uint32_t *table = its->table;
        const uint8_t *end = signs + its->bytes;
        uint32_t s0 = sums[0], s1 = sums[1], s2 = sums[2], s3 = sums[3];

        for (; signs < end; signs += 3) {
            LOOK_UP(signs[0] & 15u, 0);
            LOOK_UP((uint32_t)signs[0] >> 4, second);
            LOOK_UP(signs[1] & 15u, third);
            table += 16 * columns;
            LOOK_UP((uint32_t)signs[1] >> 4, 0);
            LOOK_UP(signs[2] & 15u, second);
            LOOK_UP((uint32_t)signs[2] >> 4, third);
            table += 16 * columns;
        }
        sums[0] = s0, sums[1] = s1, sums[2] = s2, sums[3] = s3;
    }
}
#endif

/* Tables of the pairs of columns of one source row, `from` on in each pixel; 0 stands for a row outside of the map.  Column c
 * comes at place c % stride * (columns / stride) + c / stride, so that neighbours of the output are neighbours here.
 * totals[column] are the sums of all channels. */
static void table_of_row(const struct operation *step, const uint8_t *in, int from, int count, uint32_t *table, uint32_t *totals, int columns, int apart)
{
    const struct conv *conv = step->detail;
    const struct map *source = &maps[step->source];
    const uint8_t *zeros = arena.bytes + conv->scratch;
    int start, left, channels = source->channels, width = source->width;

    for (start = 0; start < conv->stride; start++)
        for (left = start - conv->left; left < columns - conv->left; left += conv->stride) {
            int right = left + apart;
            const uint8_t *a = zeros, *b = zeros;

            if (in && left >= 0 && left < width)
                a = in + left * channels + from;
            if (in && right >= 0 && right < width)
                b = in + right * channels + from;
            *totals++ = subset_sums(table++, a, b, count, columns);
        }
}

/* Makes 32-bit sums, the first half of them in the low halves of words, of pairs of 16 bits, which begin again at 0. */
static void unpack(uint32_t *pairs, int32_t *sums, int filters, int half)
{
    int x;

    for (; filters > 0; filters--, sums += half)
        for (x = 0; x < half; x++, sums++, pairs++) {
            sums[0] += (int32_t)(*pairs & 65535);
            sums[half] += (int32_t)(*pairs >> 16);
            *pairs = 0;
        }
}

static void scale_signs(const struct map *target, uint8_t *out, const struct rule *rule, int filter, const int32_t *sums, const int32_t *totals)
{
    int32_t multiplier = rule->multipliers[filter], offset = offset_of(rule, filter);
    int x, width = target->width, channels = target->channels;

    out += filter * target->bytes;
    if (target->bytes == 1 && !rule->is_long && rule->low == 0 && rule->high == 255) {
        for (x = 0; x < width; x++, out += channels) {
            int32_t number = ((2 * sums[x] - totals[x]) * multiplier + offset) >> rule->shift;

            *out = (uint8_t)(number < 0 ? 0 : number > 255 ? 255 : number);
        }
        return;
    }
    for (x = 0; x < width; x++)
        put(target, out, x * channels, requantized(rule, 2 * sums[x] - totals[x], multiplier, offset));
}

static void conv_signs(const struct operation *step, int row)
{
    const struct conv *conv = step->detail;
    const struct map *source = &maps[step->source], *target = &maps[step->target];
    const uint8_t *signs = conv->weights;
    struct lookups its;
    int channels = source->channels / conv->groups, filters = target->channels / conv->groups, width = conv->width;
    int half = (target->width + 7) / 8 * 4, stride = conv->stride, part, ky, from, filter, x, kx;
    int each = half + ((width - 1) * conv->right + stride - 1) / stride, columns = each * stride;
    int wide = conv->format & 128, most = conv->format & 127;
    uint32_t *words = arena.words + conv->scratch / 4 + (channels + 3) / 4, *all = words + half, *pairs = all + columns;
    uint32_t *table = pairs + filters * half;
    int32_t *totals = (int32_t *)(table + 16 * most * columns), *sums = totals + 2 * half;
    uint8_t *out = row_of(target, row);

    its.columns = (uint32_t)columns;
    its.filters = (uint32_t)filters;
    its.hop = (uint32_t)half;
    for (kx = 0; kx < width; kx++)
        its.shifts[kx] = (uint32_t)(kx * conv->right % stride * each + kx * conv->right / stride);
    its.second = its.shifts[width > 1];
    its.third = its.shifts[width > 2 ? 2 : 0];
    for (part = 0; part < conv->groups; part++) {
        memset(arena.bytes + conv->scratch, source->zero, (size_t)channels);
        memset(words, 0, (size_t)half * sizeof *words);
        memset(pairs, 0, (size_t)(filters * half) * sizeof *pairs);
        memset(totals, 0, (size_t)((wide ? filters + 1 : 2) * 2 * half) * sizeof *totals);
        for (ky = 0; ky < conv->height; ky++) {
            int at = row * step->stride - step->top + ky * conv->down;
            const uint8_t *in = at < 0 || at >= source->height ? 0 : row_of(source, at);

            for (from = 0; from < channels; from += 4 * most) {
                int count = channels - from < 4 * most ? channels - from : 4 * most;
                int groups = (count + 3) / 4;

                table_of_row(step, in, part * channels + from, count, table, all, columns, half * stride);
                for (kx = 0; kx < width; kx++)
                    for (x = 0; x < half; x++)
                        words[x] += all[its.shifts[kx] + (uint32_t)x];
                unpack(words, totals, 1, half);
                its.signs = signs;
                its.bytes = (uint32_t)(groups * width + 1) / 2;
                signs += filters * (int)its.bytes;
                for (x = 0; x < half; x += 4) {
                    its.table = table + x;
                    its.sums = pairs + x;
#if MODEL_SIGNS_OTHER
                    if (width != 3 || groups % 2) {
                        look_up(&its, groups, width);
                        continue;
                    }
#endif
                    model_look_up_3(&its);
                }
                if (wide)
                    unpack(pairs, sums, filters, half);
            }
        }
        for (filter = 0; filter < filters; filter++) {
            if (!wide) {
                memset(sums, 0, (size_t)(2 * half) * sizeof *sums);
                unpack(pairs + filter * half, sums, 1, half);
            }
            scale_signs(target, out, &conv->rule, part * filters + filter, sums + (wide ? filter * 2 * half : 0), totals);
        }
    }
}
