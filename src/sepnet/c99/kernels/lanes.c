/* What vectors do: the sums of 16 filters at one place (`lanes`), and 64 weights, of these filters for four numbers (`sixteen`),
 * packed as bits of signs or as bytes (8 or 64 bytes of them).  Where unpacking them takes time they are unpacked once for a map, to
 * UNPACKED bytes; where it is 8, it takes none.  PLACES times two `lanes` fit the registers. */

/* What requantized() takes for 16 filters, of which `count` are there. */
struct scale {
    int32_t multipliers[16], offsets[16];
    int shift, low, high, count;
};

static struct scale scale_of(const struct rule *rule, int filter, int count)
{
    struct scale scale;
    int lane;

    memset(&scale, 0, sizeof scale);
    scale.shift = rule->shift, scale.low = rule->low, scale.high = rule->high, scale.count = count < 16 ? count : 16;
    for (lane = 0; lane < scale.count; lane++) {
        scale.multipliers[lane] = rule->multipliers[filter + lane];
        scale.offsets[lane] = offset_of(rule, filter + lane);
    }
    return scale;
}

#if defined(__AVX512VNNI__) && defined(__AVX512BW__) && defined(__AVX512VL__)
#define LANES_AVX512 1
#else
#define LANES_AVX512 0

static void scale_numbers(const struct scale *scale, const int32_t *sums, int bytes, uint8_t *out)
{
    int lane;

    for (lane = 0; lane < scale->count; lane++) {
        int number = (sums[lane] * scale->multipliers[lane] + scale->offsets[lane]) >> scale->shift;

        number = number < scale->low ? scale->low : number > scale->high ? scale->high : number;
        out[bytes * lane] = (uint8_t)(number & 255);
        if (bytes == 2)
            out[2 * lane + 1] = (uint8_t)((number >> 8) & 255);
    }
}
#endif
