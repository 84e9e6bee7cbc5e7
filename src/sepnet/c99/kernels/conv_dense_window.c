#if defined(__ARM_FEATURE_SIMD32)
#include <arm_acle.h>
#endif

static int32_t dot(const uint8_t *numbers, const int8_t *weights, int count)
{
    int32_t sum = 0;

#if defined(__ARM_FEATURE_SIMD32)
    for (; count >= 4; numbers += 4, weights += 4, count -= 4) {
        uint32_t four, by;

        memcpy(&four, numbers, 4);
        memcpy(&by, weights, 4);
        sum = __smlad((int16x2_t)__uxtb16(four), (int16x2_t)__sxtb16(by), sum);
        sum = __smlad((int16x2_t)__uxtb16(four >> 8), (int16x2_t)__sxtb16(by >> 8), sum);
    }
#elif defined(__thumb__)
    for (; count >= 4; numbers += 4, weights += 4, count -= 4) {
        sum += numbers[0] * weights[0];
        sum += numbers[1] * weights[1];
        sum += numbers[2] * weights[2];
        sum += numbers[3] * weights[3];
    }
#endif
    for (; count > 0; count--)
        sum += *numbers++ * *weights++;
    return sum;
}

/* Copies the numbers of a window, height x width x `count` channels from `from` on, zeros where it is outside of the map. */
static void gather_window(const struct operation *step, int row, int x, int from, int count, uint8_t *copy)
{
    const struct conv *conv = step->detail;
    const struct map *source = &maps[step->source];
    int left = x * conv->stride - conv->left, top = row * step->stride - step->top, ky, kx, taps = conv->width, hop = conv->right;

    if (conv->right == 1 && count == source->channels && left >= 0 && left + taps <= source->width)
        count *= taps, taps = 1;
    for (ky = 0; ky < conv->height; ky++, top += conv->down) {
        const uint8_t *in = top < 0 || top >= source->height ? 0 : row_of(source, top);

        for (kx = 0; kx < taps; kx++, copy += count) {
            int column = left + kx * hop;

            if (in && column >= 0 && column < source->width)
                memcpy(copy, in + column * source->channels + from, (size_t)count);
            else
                memset(copy, source->zero, (size_t)count);
        }
    }
}
