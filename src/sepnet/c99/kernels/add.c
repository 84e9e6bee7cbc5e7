#if defined(__AVX512BW__) && !MODEL_LONG
#include <immintrin.h>

/* As many as there are whole vectors of 32: (a, b) . (first, other), pairs of words; the packing puts them in order again. */
static int add_vectors(const struct rule *rule, const uint8_t *a, const uint8_t *b, uint8_t *out, int count)
{
    __m512i both = _mm512_set1_epi32((int32_t)((uint32_t)(uint16_t)rule->multipliers[1] << 16 | (uint16_t)rule->multipliers[0]));
    __m512i offset = _mm512_set1_epi32(offset_of(rule, 0)), low = _mm512_set1_epi16(rule->low), high = _mm512_set1_epi16(rule->high);
    __m128i shift = _mm_cvtsi32_si128(rule->shift);
    int at;

    for (at = 0; at + 32 <= count; at += 32) {
        __m512i x = _mm512_cvtepu8_epi16(_mm256_loadu_si256((const void *)(a + at)));
        __m512i y = _mm512_cvtepu8_epi16(_mm256_loadu_si256((const void *)(b + at)));
        __m512i p = _mm512_add_epi32(_mm512_madd_epi16(_mm512_unpacklo_epi16(x, y), both), offset);
        __m512i q = _mm512_add_epi32(_mm512_madd_epi16(_mm512_unpackhi_epi16(x, y), both), offset);

        x = _mm512_packs_epi32(_mm512_sra_epi32(p, shift), _mm512_sra_epi32(q, shift));
        x = _mm512_min_epi16(_mm512_max_epi16(x, low), high);
        _mm256_storeu_si256((void *)(out + at), _mm512_cvtepi16_epi8(x));
    }
    return at;
}
#endif

/* The second value may be one number a channel. */
static void add(const struct operation *step, int row)
{
    const struct rule *rule = step->detail;
    const struct map *target = &maps[step->target], *second = &maps[step->second];
    const uint8_t *a = row_of(&maps[step->source], row), *b = row_of(second, second->height == 1 ? 0 : row);
    int32_t first = rule->multipliers[0], other = rule->multipliers[1], offset = offset_of(rule, 0);
    int x, channel, channels = target->channels, hop = second->width == 1 ? 0 : channels;
    uint8_t *out = row_of(target, row);

#if !MODEL_LONG && !defined(__thumb__)
    if (hop) { /* in parts that nothing else points to, for compilers that make vectors */
        int low = rule->low, high = rule->high, shift = rule->shift, rest = target->width * channels, count, at;
        uint8_t part[PART];

#if defined(__AVX512BW__)
        count = add_vectors(rule, a, b, out, rest);
        a += count, b += count, out += count, rest -= count;
#endif
        for (; rest > 0; rest -= count, a += count, b += count, out += count) {
            count = rest < PART ? rest : PART;
            for (at = 0; at < count; at++) {
                int32_t number = (a[at] * first + b[at] * other + offset) >> shift;

                number = number < low ? low : number;
                part[at] = (uint8_t)(number > high ? high : number);
            }
            memcpy(out, part, (size_t)count);
        }
        return;
    }
#endif
    for (x = 0; x < target->width; x++, b += hop)
        for (channel = 0; channel < channels; channel++)
            *out++ = (uint8_t)requantized(rule, *a++ * first + b[channel] * other, 1, offset);
}
