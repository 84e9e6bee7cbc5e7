/* x86 with AVX-512 and dot products of bytes. */
#if LANES_AVX512
#include <immintrin.h>
#define PLACES 8
#define UNPACKED 8
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

static void store_lanes(int32_t *sums, lanes sum)
{
    _mm512_storeu_si512(sums, sum);
}

static void scale_lanes(const struct scale *scale, const lanes *sums, int count, int bytes, int pixel, uint8_t *out)
{
    lanes multipliers = _mm512_loadu_si512(scale->multipliers), offsets = _mm512_loadu_si512(scale->offsets);
    lanes low = _mm512_set1_epi32(scale->low), high = _mm512_set1_epi32(scale->high);
    __m128i shift = _mm_cvtsi32_si128(scale->shift);
    __mmask16 some = (__mmask16)((1 << scale->count) - 1);

    for (; count > 0; count--, sums++, out += pixel) {
        lanes number = _mm512_add_epi32(_mm512_mullo_epi32(*sums, multipliers), offsets);

        number = _mm512_min_epi32(_mm512_max_epi32(_mm512_sra_epi32(number, shift), low), high);
        if (bytes == 2)
            _mm256_mask_storeu_epi16(out, some, _mm512_cvtepi32_epi16(number));
        else if (some == 65535)
            _mm_storeu_si128((void *)out, _mm512_cvtepi32_epi8(number));
        else
            _mm_mask_storeu_epi8(out, some, _mm512_cvtepi32_epi8(number));
    }
}
#endif
