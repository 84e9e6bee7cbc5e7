/* All others. */
#if !defined(PLACES)
#define PLACES 2
#define UNPACKED 64
#define EACH_PLACE(DO) DO(0) DO(1)

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

    memcpy(&found, weights, (size_t)bytes);
    return found;
}

static void unpack_at(uint8_t *to, const uint8_t *weights, int bytes)
{
    int at;

    (void)bytes;
    for (at = 0; at < 64; at++)
        to[at] = (uint8_t)(weights[at / 8] >> at % 8 & 1 ? 1 : 255);
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

static void scale_lanes(const struct scale *scale, const lanes *sums, int count, int bytes, int pixel, uint8_t *out)
{
    for (; count > 0; count--, sums++, out += pixel)
        scale_numbers(scale, sums->of, bytes, out);
}
#endif
