/* For processors with vectors of 16 words: 64 weights of 16 filters for four channels of a place of the kernel follow one
 * another, bits of signs or bytes (8 or 64 bytes of them, `format`); part x 16 filters x height x width x channels / 4. */
#if defined(__AVX512VNNI__) && defined(__AVX512BW__)
#include <immintrin.h>

typedef __m512i lanes, sixteen;
#define CLEAR(sum) (sum) = _mm512_setzero_si512()
#define ADD(sum, four, weights) (sum) = _mm512_dpbusd_epi32(sum, _mm512_set1_epi32(four), weights)

static sixteen weights_at(const uint8_t *weights, int bytes)
{
    uint64_t bits;

    if (bytes == 64)
        return _mm512_loadu_si512(weights);
    memcpy(&bits, weights, 8);
    return _mm512_mask_blend_epi8(bits, _mm512_set1_epi8(-1), _mm512_set1_epi8(1));
}

/* 16 filters of one place, as requantized() of each. */
static void scale_lanes(const struct map *target, uint8_t *out, const struct rule *rule, int filter, int count, lanes sum)
{
    int32_t sums[16];
    int lane;

    if (count == 16 && target->bytes == 1 && !rule->is_long) {
        const int16_t *multipliers = rule->multipliers + filter;
        lanes offsets = rule->offset_bytes == 2
                            ? _mm512_cvtepi16_epi32(_mm256_loadu_si256((const void *)((const int16_t *)rule->offsets + filter)))
                            : _mm512_loadu_si512((const int32_t *)rule->offsets + filter);

        offsets = _mm512_sll_epi32(offsets, _mm_cvtsi32_si128(rule->offset_shift));
        sum = _mm512_mullo_epi32(sum, _mm512_cvtepi16_epi32(_mm256_loadu_si256((const void *)multipliers)));
        sum = _mm512_sra_epi32(_mm512_add_epi32(sum, offsets), _mm_cvtsi32_si128(rule->shift));
        sum = _mm512_min_epi32(_mm512_max_epi32(sum, _mm512_set1_epi32(rule->low)), _mm512_set1_epi32(rule->high));
        _mm_storeu_si128((void *)(out + filter), _mm512_cvtepi32_epi8(sum));
        return;
    }
    _mm512_storeu_si512(sums, sum);
    for (lane = 0; lane < count; lane++)
        put(target, out, filter + lane,
            requantized(rule, sums[lane], rule->multipliers[filter + lane], offset_of(rule, filter + lane)));
}
#else
typedef struct {
    int32_t of[16];
} lanes;
typedef struct {
    int8_t of[64];
} sixteen;

static sixteen weights_at(const uint8_t *weights, int bytes)
{
    sixteen found;
    int at;

    if (bytes == 64)
        memcpy(&found, weights, sizeof found);
    else
        for (at = 0; at < 64; at++)
            found.of[at] = weights[at / 8] >> at % 8 & 1 ? 1 : -1;
    return found;
}

static lanes added(lanes sum, int four, const sixteen *weights)
{
    int at;

    for (at = 0; at < 64; at++)
        sum.of[at / 4] += (int)((uint32_t)four >> at % 4 * 8 & 255) * weights->of[at];
    return sum;
}

#define CLEAR(sum) memset(&(sum), 0, sizeof(sum))
#define ADD(sum, four, weights) (sum) = added(sum, four, &(weights))

static void scale_lanes(const struct map *target, uint8_t *out, const struct rule *rule, int filter, int count, lanes sum)
{
    int lane;

    for (lane = 0; lane < count; lane++)
        put(target, out, filter + lane,
            requantized(rule, sum.of[lane], rule->multipliers[filter + lane], offset_of(rule, filter + lane)));
}
#endif

static int four_at(const uint8_t *numbers)
{
    int four;

    memcpy(&four, numbers, 4);
    return four;
}

/* The rows of windows, channels `from` on, whole words of four; what is added to fill a word is 0. */
static void copy_rows(const struct operation *step, int row, int from, int channels, int words)
{
    const struct conv *conv = step->detail;
    const struct map *source = &maps[step->source];
    uint8_t *copy = arena.bytes + conv->scratch;
    int ky, column;

    for (ky = 0; ky < conv->height; ky++) {
        int at = row * step->stride - step->top + ky * conv->down;
        const uint8_t *in = at < 0 || at >= source->height ? 0 : row_of(source, at);
        int inside = conv->padded - conv->left < source->width ? conv->padded - conv->left : source->width;

        if (channels == source->channels && channels == 4 * words && inside > 0) {
            memset(copy, source->zero, (size_t)(conv->padded * channels));
            if (in)
                memcpy(copy + conv->left * channels, in, (size_t)(inside * channels));
            copy += conv->padded * channels;
            continue;
        }
        for (column = -conv->left; column < conv->padded - conv->left; column++, copy += 4 * words) {
            if (words == 1) {
                const uint8_t *pixel = in && column >= 0 && column < source->width ? in + column * source->channels + from : 0;
                int zero = source->zero;

                copy[0] = (uint8_t)(pixel ? pixel[0] : zero);
                copy[1] = (uint8_t)(channels < 2 ? 0 : pixel ? pixel[1] : zero);
                copy[2] = (uint8_t)(channels < 3 ? 0 : pixel ? pixel[2] : zero);
                copy[3] = (uint8_t)(channels < 4 ? 0 : pixel ? pixel[3] : zero);
                continue;
            }
            memset(copy + channels, 0, (size_t)(4 * words - channels));
            if (in && column >= 0 && column < source->width)
                memcpy(copy, in + column * source->channels + from, (size_t)channels);
            else
                memset(copy, source->zero, (size_t)channels);
        }
    }
}

static void conv_lanes(const struct operation *step, int row)
{
    const struct conv *conv = step->detail;
    const struct map *source = &maps[step->source], *target = &maps[step->target];
    const uint8_t *whole = conv->weights, *copy = arena.bytes + conv->scratch;
    int channels = source->channels / conv->groups, filters = target->channels / conv->groups, words = (channels + 3) / 4;
    int taps = conv->right == 1 ? 1 : conv->width, run = conv->right == 1 ? conv->width * words : words;
    int bytes = conv->format, size = conv->height * conv->width * words * bytes, hop = conv->stride * 4 * words, part, first, x, ky, tap, word;
    uint8_t *out = row_of(target, row);

    for (part = 0; part < conv->groups; part++) {
        copy_rows(step, row, part * channels, channels, words);
        for (first = 0; first < filters; first += 16, whole += size)
            for (x = 0; x < target->width; x += 8) { /* eight places at once; those behind the row's end are left out below */
                const uint8_t *weights = whole;
                int filter = part * filters + first, count = filters - first < 16 ? filters - first : 16, left = target->width - x;
                uint8_t *to = out + x * target->channels * target->bytes;
                int next = target->channels * target->bytes;
                lanes s0, s1, s2, s3, s4, s5, s6, s7;

                CLEAR(s0), CLEAR(s1), CLEAR(s2), CLEAR(s3), CLEAR(s4), CLEAR(s5), CLEAR(s6), CLEAR(s7);
                for (ky = 0; ky < conv->height; ky++)
                    for (tap = 0; tap < taps; tap++) {
                        const uint8_t *in = copy + x * hop + (ky * conv->padded + tap * conv->right) * 4 * words;

                        for (word = 0; word < run; word++, in += 4, weights += bytes) {
                            const sixteen by = weights_at(weights, bytes);

                            ADD(s0, four_at(in), by);
                            ADD(s1, four_at(in + hop), by);
                            ADD(s2, four_at(in + 2 * hop), by);
                            ADD(s3, four_at(in + 3 * hop), by);
                            ADD(s4, four_at(in + 4 * hop), by);
                            ADD(s5, four_at(in + 5 * hop), by);
                            ADD(s6, four_at(in + 6 * hop), by);
                            ADD(s7, four_at(in + 7 * hop), by);
                        }
                    }
#define SCALE(at, sum) \
    if (left > (at)) \
    scale_lanes(target, to + (at) * next, &conv->rule, filter, count, sum)
                SCALE(0, s0);
                SCALE(1, s1);
                SCALE(2, s2);
                SCALE(3, s3);
                SCALE(4, s4);
                SCALE(5, s5);
                SCALE(6, s6);
                SCALE(7, s7);
#undef SCALE
            }
    }
}
