/* Filters of one channel each, weights height x width x filters. */
static void conv_depthwise(const struct operation *step, int row)
{
    const struct conv *conv = step->detail;
    const struct map *source = &maps[step->source], *target = &maps[step->target];
    int channels = source->channels, filters = target->channels, each = filters / channels, x, ky, kx, at;
    int32_t *sums = (int32_t *)(void *)(arena.bytes + conv->scratch);
    uint8_t *out = row_of(target, row);

    for (x = 0; x < target->width; x++) {
        const int8_t *weights = conv->weights;

        memset(sums, 0, (size_t)filters * sizeof *sums);
        for (ky = 0; ky < conv->height; ky++) {
            int top = row * step->stride - step->top + ky * conv->down;
            const uint8_t *in = top < 0 || top >= source->height ? 0 : row_of(source, top);

            for (kx = 0; kx < conv->width; kx++, weights += filters) {
                int column = x * conv->stride - conv->left + kx * conv->right;

                if (!in || column < 0 || column >= source->width)
                    for (at = 0; at < filters; at++)
                        sums[at] += source->zero * weights[at];
                else if (each == 1)
                    for (at = 0; at < filters; at++)
                        sums[at] += in[column * channels + at] * weights[at];
                else
                    for (at = 0; at < filters; at++)
                        sums[at] += in[column * channels + at / each] * weights[at];
            }
        }
        for (at = 0; at < filters; at++)
            put(target, out, x * filters + at, requantized(&conv->rule, sums[at], conv->rule.multipliers[at], offset_of(&conv->rule, at)));
    }
}
