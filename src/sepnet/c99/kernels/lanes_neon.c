/* 64-bit ARM: products of words of 16 bits, or dot products of bytes where it has them, of unsigned by signed ones in the best case. */
#if defined(__aarch64__) && defined(__ARM_NEON)
#include <arm_neon.h>
#define PLACES 2
#define EACH_PLACE(DO) DO(0) DO(1)

typedef struct {
    int32x4_t of[4];
} lanes;

static int8x16_t signs_at(const uint8_t *weights)
{
    static const uint8_t bit[16] = {1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128};
    uint8x16_t set = vtstq_u8(vcombine_u8(vdup_n_u8(weights[0]), vdup_n_u8(weights[1])), vld1q_u8(bit));

    return vreinterpretq_s8_u8(vorrq_u8(vmvnq_u8(set), vdupq_n_u8(1)));
}

static int8x16_t quarter_at(const uint8_t *weights, int bytes, int at)
{
    return bytes == 8 ? signs_at(weights + 2 * at) : vld1q_s8((const int8_t *)weights + 16 * at);
}

#if defined(__ARM_FEATURE_MATMUL_INT8) || defined(__ARM_FEATURE_DOTPROD)
typedef uint8x16_t fours;

static fours four_at(const uint8_t *numbers)
{
    uint32_t four;

    memcpy(&four, numbers, 4);
    return vreinterpretq_u8_u32(vdupq_n_u32(four));
}
#endif

#if defined(__ARM_FEATURE_MATMUL_INT8)
#define UNPACKED 64
typedef struct {
    int8x16_t of[4];
} sixteen;

static sixteen weights_at(const uint8_t *weights, int bytes)
{
    sixteen found;
    int at;

    for (at = 0; at < 4; at++)
        found.of[at] = quarter_at(weights, bytes, at);
    return found;
}

static void unpack_at(uint8_t *to, const uint8_t *weights, int bytes)
{
    int at;

    for (at = 0; at < 4; at++)
        vst1q_s8((int8_t *)to + 16 * at, quarter_at(weights, bytes, at));
}

static lanes added(lanes sum, fours numbers, sixteen weights)
{
    int at;

    for (at = 0; at < 4; at++)
        sum.of[at] = vusdotq_s32(sum.of[at], numbers, weights.of[at]);
    return sum;
}
#elif defined(__ARM_FEATURE_DOTPROD)
#define UNPACKED 128
/* Without products of unsigned by signed numbers 128 is taken off the numbers, and what that makes off the sum. */
typedef struct {
    int8x16_t of[4];
    int32x4_t less[4];
} sixteen;

static sixteen weights_at(const uint8_t *weights, int bytes)
{
    sixteen found;
    int at;

    (void)bytes;
    for (at = 0; at < 4; at++) {
        found.of[at] = vld1q_s8((const int8_t *)weights + 16 * at);
        found.less[at] = vreinterpretq_s32_u8(vld1q_u8(weights + 64 + 16 * at));
    }
    return found;
}

static void unpack_at(uint8_t *to, const uint8_t *weights, int bytes)
{
    int at;

    for (at = 0; at < 4; at++) {
        int8x16_t quarter = quarter_at(weights, bytes, at);

        vst1q_s8((int8_t *)to + 16 * at, quarter);
        vst1q_u8(to + 64 + 16 * at, vreinterpretq_u8_s32(vdotq_s32(vdupq_n_s32(0), quarter, vdupq_n_s8(-128))));
    }
}

static lanes added(lanes sum, fours numbers, sixteen weights)
{
    int8x16_t less = vreinterpretq_s8_u8(veorq_u8(numbers, vdupq_n_u8(128)));
    int at;

    for (at = 0; at < 4; at++)
        sum.of[at] = vdotq_s32(vsubq_s32(sum.of[at], weights.less[at]), weights.of[at], less);
    return sum;
}
#else
#define UNPACKED 128
/* The weights of 16 filters for each of the four numbers. */
typedef struct {
    int16x8_t of[4][2];
} sixteen;
typedef int16x4_t fours;

static fours four_at(const uint8_t *numbers)
{
    uint32_t four;

    memcpy(&four, numbers, 4);
    return vget_low_s16(vreinterpretq_s16_u16(vmovl_u8(vreinterpret_u8_u32(vdup_n_u32(four)))));
}

static sixteen weights_at(const uint8_t *weights, int bytes)
{
    sixteen found;
    int at;

    (void)bytes;
    for (at = 0; at < 8; at++)
        found.of[at / 2][at % 2] = vreinterpretq_s16_u8(vld1q_u8(weights + 16 * at));
    return found;
}

static void unpack_at(uint8_t *to, const uint8_t *weights, int bytes)
{
    int8_t whole[64];
    int8x16x4_t split;
    int at;

    for (at = 0; at < 4; at++)
        vst1q_s8(whole + 16 * at, quarter_at(weights, bytes, at));
    split = vld4q_s8(whole);
    for (at = 0; at < 4; at++, to += 32) {
        vst1q_u8(to, vreinterpretq_u8_s16(vmovl_s8(vget_low_s8(split.val[at]))));
        vst1q_u8(to + 16, vreinterpretq_u8_s16(vmovl_s8(vget_high_s8(split.val[at]))));
    }
}

static lanes added(lanes sum, fours numbers, sixteen weights)
{
    int at;

    for (at = 0; at < 2; at++) {
#define MULTIPLY(number) \
    sum.of[2 * at] = vmlal_lane_s16(sum.of[2 * at], vget_low_s16(weights.of[number][at]), numbers, number); \
    sum.of[2 * at + 1] = vmlal_lane_s16(sum.of[2 * at + 1], vget_high_s16(weights.of[number][at]), numbers, number);
        MULTIPLY(0) MULTIPLY(1) MULTIPLY(2) MULTIPLY(3)
#undef MULTIPLY
    }
    return sum;
}
#endif

static lanes no_sum(void)
{
    lanes none;

    none.of[0] = none.of[1] = none.of[2] = none.of[3] = vdupq_n_s32(0);
    return none;
}

static void store_lanes(int32_t *sums, lanes sum)
{
    int at;

    for (at = 0; at < 4; at++)
        vst1q_s32(sums + 4 * at, sum.of[at]);
}

static void scale_lanes(const struct scale *scale, const lanes *sums, int count, int bytes, int pixel, uint8_t *out)
{
    int32x4_t low = vdupq_n_s32(scale->low), high = vdupq_n_s32(scale->high), shift = vdupq_n_s32(-scale->shift), part[4];
    int32_t numbers[16];
    int at;

    for (; count > 0; count--, sums++, out += pixel) {
        if (bytes == 2 || scale->count < 16) {
            store_lanes(numbers, *sums);
            scale_numbers(scale, numbers, bytes, out);
            continue;
        }
        for (at = 0; at < 4; at++) {
            part[at] = vmlaq_s32(vld1q_s32(scale->offsets + 4 * at), sums->of[at], vld1q_s32(scale->multipliers + 4 * at));
            part[at] = vminq_s32(vmaxq_s32(vshlq_s32(part[at], shift), low), high);
        }
        vst1q_u8(out, vcombine_u8(vqmovun_s16(vcombine_s16(vmovn_s32(part[0]), vmovn_s32(part[1]))),
                                  vqmovun_s16(vcombine_s16(vmovn_s32(part[2]), vmovn_s32(part[3])))));
    }
}
#endif
