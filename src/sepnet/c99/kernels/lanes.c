/* What vectors of 16 words do: the sums of 16 filters at one place (`lanes`) and 64 weights, of these filters for four
 * channels (`sixteen`), bits of signs or bytes (8 or 64 bytes of them).  PLACES is how many of them fit the registers. */
#if defined(__AVX512VNNI__) && defined(__AVX512BW__) && defined(__AVX512VL__)
#include <immintrin.h>
#define PLACES 8
#define EACH_PLACE(DO) DO(0) DO(1) DO(2) DO(3) DO(4) DO(5) DO(6) DO(7)

typedef __m512i lanes, sixteen, fours;

static lanes no_sum(void)
{
    return _mm512_setzero_si512();
}

static fours four_at(const uint8_t *numbers)
{
    int four;

    memcpy(&four, numbers, 4);
    return _mm512_set1_epi32(four);
}

static sixteen weights_at(const uint8_t *weights, int bytes)
{
    uint64_t bits;

    if (bytes == 64)
        return _mm512_loadu_si512(weights);
    memcpy(&bits, weights, 8);
    return _mm512_mask_blend_epi8(bits, _mm512_set1_epi8(-1), _mm512_set1_epi8(1));
}

static lanes added(lanes sum, fours numbers, sixteen weights)
{
    return _mm512_dpbusd_epi32(sum, numbers, weights);
}

/* What requantized() takes for 16 filters, the last `count` of them if there are no more. */
struct scale {
    lanes multipliers, offsets, low, high;
    __m128i shift;
    __mmask16 some;
};

static struct scale scale_of(const struct rule *rule, int filter, int count)
{
    struct scale scale;

    scale.some = (__mmask16)(count < 16 ? (1 << count) - 1 : 65535);
    scale.multipliers = _mm512_cvtepi16_epi32(_mm256_maskz_loadu_epi16(scale.some, rule->multipliers + filter));
    scale.offsets = rule->offset_bytes == 2
                        ? _mm512_cvtepi16_epi32(_mm256_maskz_loadu_epi16(scale.some, (const int16_t *)rule->offsets + filter))
                        : _mm512_maskz_loadu_epi32(scale.some, (const int32_t *)rule->offsets + filter);
    scale.offsets = _mm512_sll_epi32(scale.offsets, _mm_cvtsi32_si128(rule->offset_shift));
    scale.low = _mm512_set1_epi32(rule->low);
    scale.high = _mm512_set1_epi32(rule->high);
    scale.shift = _mm_cvtsi32_si128(rule->shift);
    return scale;
}

static lanes scaled(const struct scale *scale, lanes sum)
{
    sum = _mm512_add_epi32(_mm512_mullo_epi32(sum, scale->multipliers), scale->offsets);
    return _mm512_min_epi32(_mm512_max_epi32(_mm512_sra_epi32(sum, scale->shift), scale->low), scale->high);
}

/* As requantized() of each: `count` places, `pixel` bytes from one to the next, `bytes` bytes a number. */
static void scale_lanes(const struct scale *all, const lanes *sums, int count, int bytes, int pixel, uint8_t *out)
{
    const struct scale scale = *all;
    const lanes *end = sums + count;

    if (bytes == 1 && scale.some == 65535)
        for (; sums < end; sums++, out += pixel)
            _mm_storeu_si128((void *)out, _mm512_cvtepi32_epi8(scaled(&scale, *sums)));
    else if (bytes == 1)
        for (; sums < end; sums++, out += pixel)
            _mm_mask_storeu_epi8(out, scale.some, _mm512_cvtepi32_epi8(scaled(&scale, *sums)));
    else
        for (; sums < end; sums++, out += pixel)
            _mm256_mask_storeu_epi16(out, scale.some, _mm512_cvtepi32_epi16(scaled(&scale, *sums)));
}

static void store_lanes(int32_t *sums, lanes sum)
{
    _mm512_storeu_si512(sums, sum);
}
#else
#define PLACES 4
#define EACH_PLACE(DO) DO(0) DO(1) DO(2) DO(3)

typedef struct {
    int32_t of[16];
} lanes;
typedef struct {
    int8_t of[64];
} sixteen;
typedef const uint8_t *fours;

static lanes no_sum(void)
{
    static const lanes none;

    return none;
}

static fours four_at(const uint8_t *numbers)
{
    return numbers;
}

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

static lanes added(lanes sum, fours numbers, sixteen weights)
{
    int at;

    for (at = 0; at < 64; at++)
        sum.of[at / 4] += numbers[at % 4] * weights.of[at];
    return sum;
}

static void store_lanes(int32_t *sums, lanes sum)
{
    memcpy(sums, &sum, sizeof sum);
}

struct scale {
    int32_t multipliers[16], offsets[16];
    int shift, low, high, count;
};

static struct scale scale_of(const struct rule *rule, int filter, int count)
{
    struct scale scale;
    int lane;

    scale.shift = rule->shift, scale.low = rule->low, scale.high = rule->high, scale.count = count;
    for (lane = 0; lane < count; lane++) {
        scale.multipliers[lane] = rule->multipliers[filter + lane];
        scale.offsets[lane] = offset_of(rule, filter + lane);
    }
    return scale;
}

static void scale_lanes(const struct scale *scale, const lanes *sums, int count, int bytes, int pixel, uint8_t *out)
{
    int lane;

    for (; count > 0; count--, sums++, out += pixel)
        for (lane = 0; lane < scale->count; lane++) {
            int number = (sums->of[lane] * scale->multipliers[lane] + scale->offsets[lane]) >> scale->shift;

            number = number < scale->low ? scale->low : number > scale->high ? scale->high : number;
            out[bytes * lane] = (uint8_t)(number & 255);
            if (bytes == 2)
                out[2 * lane + 1] = (uint8_t)((number >> 8) & 255);
        }
}
#endif
