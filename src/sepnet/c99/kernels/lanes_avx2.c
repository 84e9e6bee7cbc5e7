/* x86 with AVX2; dot products of bytes where it has them (AVX-VNNI). */
#if !LANES_AVX512 && defined(__AVX2__)
#include <immintrin.h>
#define PLACES 2
#define EACH_PLACE(DO) DO(0) DO(1)

typedef struct {
    __m256i low, high;
} lanes;

#if defined(__AVXVNNI__)
#define UNPACKED 64
typedef lanes sixteen;
typedef __m256i fours;

static fours four_at(const uint8_t *numbers)
{
    int four;

    memcpy(&four, numbers, 4);
    return _mm256_set1_epi32(four);
}

static sixteen weights_at(const uint8_t *weights, int bytes)
{
    sixteen found;

    (void)bytes;
    found.low = _mm256_loadu_si256((const void *)weights);
    found.high = _mm256_loadu_si256((const void *)(weights + 32));
    return found;
}

static void unpack_half(uint8_t *to, int half, __m256i weights)
{
    _mm256_storeu_si256((void *)(to + 32 * half), weights);
}

static lanes added(lanes sum, fours numbers, sixteen weights)
{
    sum.low = _mm256_dpbusd_avx_epi32(sum.low, numbers, weights.low);
    sum.high = _mm256_dpbusd_avx_epi32(sum.high, numbers, weights.high);
    return sum;
}
#else
#define UNPACKED 128
typedef struct {
    lanes even, odd;
} sixteen;
typedef struct {
    __m256i even, odd;
} fours;

static fours four_at(const uint8_t *numbers)
{
    fours found;
    int four;

    memcpy(&four, numbers, 4);
    found.even = _mm256_set1_epi32(four);
    found.odd = _mm256_srli_epi16(found.even, 8);
    found.even = _mm256_and_si256(found.even, _mm256_set1_epi16(255));
    return found;
}

static sixteen weights_at(const uint8_t *weights, int bytes)
{
    sixteen found;

    (void)bytes;
    found.even.low = _mm256_loadu_si256((const void *)weights);
    found.even.high = _mm256_loadu_si256((const void *)(weights + 32));
    found.odd.low = _mm256_loadu_si256((const void *)(weights + 64));
    found.odd.high = _mm256_loadu_si256((const void *)(weights + 96));
    return found;
}

/* Every other weight as a word of 16 bits, so that nothing saturates. */
static void unpack_half(uint8_t *to, int half, __m256i weights)
{
    _mm256_storeu_si256((void *)(to + 32 * half), _mm256_srai_epi16(_mm256_slli_epi16(weights, 8), 8));
    _mm256_storeu_si256((void *)(to + 64 + 32 * half), _mm256_srai_epi16(weights, 8));
}

static lanes added(lanes sum, fours numbers, sixteen weights)
{
    sum.low = _mm256_add_epi32(sum.low, _mm256_madd_epi16(numbers.even, weights.even.low));
    sum.high = _mm256_add_epi32(sum.high, _mm256_madd_epi16(numbers.even, weights.even.high));
    sum.low = _mm256_add_epi32(sum.low, _mm256_madd_epi16(numbers.odd, weights.odd.low));
    sum.high = _mm256_add_epi32(sum.high, _mm256_madd_epi16(numbers.odd, weights.odd.high));
    return sum;
}
#endif

static lanes no_sum(void)
{
    lanes none;

    none.low = none.high = _mm256_setzero_si256();
    return none;
}

static __m256i signs_at(const uint8_t *weights)
{
    __m256i bytes = _mm256_setr_epi64x(0, 0x0101010101010101, 0x0202020202020202, 0x0303030303030303);
    __m256i bits = _mm256_set1_epi64x((long long)0x8040201008040201), set;
    int four;

    memcpy(&four, weights, 4);
    set = _mm256_cmpeq_epi8(_mm256_and_si256(_mm256_shuffle_epi8(_mm256_set1_epi32(four), bytes), bits), bits);
    return _mm256_or_si256(_mm256_xor_si256(set, _mm256_set1_epi8(-1)), _mm256_set1_epi8(1));
}

static void unpack_at(uint8_t *to, const uint8_t *weights, int bytes)
{
    unpack_half(to, 0, bytes == 8 ? signs_at(weights) : _mm256_loadu_si256((const void *)weights));
    unpack_half(to, 1, bytes == 8 ? signs_at(weights + 4) : _mm256_loadu_si256((const void *)(weights + 32)));
}

static void store_lanes(int32_t *sums, lanes sum)
{
    _mm256_storeu_si256((void *)sums, sum.low);
    _mm256_storeu_si256((void *)(sums + 8), sum.high);
}

/* Half of them, before they are clamped. */
static __m256i scaled(const struct scale *scale, int from, __m256i sum)
{
    __m256i number = _mm256_mullo_epi32(sum, _mm256_loadu_si256((const void *)(scale->multipliers + from)));

    number = _mm256_add_epi32(number, _mm256_loadu_si256((const void *)(scale->offsets + from)));
    return _mm256_sra_epi32(number, _mm_cvtsi32_si128(scale->shift));
}

static void scale_lanes(const struct scale *scale, const lanes *sums, int count, int bytes, int pixel, uint8_t *out)
{
    __m256i low = _mm256_set1_epi16((short)scale->low), high = _mm256_set1_epi16((short)scale->high), number;
    int32_t numbers[16];

    for (; count > 0; count--, sums++, out += pixel) {
        if (bytes == 2 || scale->count < 16) {
            store_lanes(numbers, *sums);
            scale_numbers(scale, numbers, bytes, out);
            continue;
        }
        number = _mm256_packs_epi32(scaled(scale, 0, sums->low), scaled(scale, 8, sums->high));
        number = _mm256_permute4x64_epi64(_mm256_min_epi16(_mm256_max_epi16(number, low), high), 0xd8);
        _mm_storeu_si128((void *)out, _mm_packus_epi16(_mm256_castsi256_si128(number), _mm256_extracti128_si256(number, 1)));
    }
}
#endif
