static int32_t dot(const uint8_t *numbers, const int8_t *weights, int count)
{
    int32_t sum = 0;
    int at;

    for (at = 0; at < count; at++)
        sum += numbers[at] * weights[at];
    return sum;
}

/* Weights of 8 bits: filters x height x width x channels of a group. */
static void conv_dense(const struct operation *step, int row)
{
    const struct conv *conv = step->detail;
    const struct map *source = &maps[step->source], *target = &maps[step->target];
    int stride, x, filter, ky, tap, channels = source->channels / conv->groups;
    int together = conv->groups == 1 && conv->right == 1;
    int taps = together ? 1 : conv->width, count = together ? conv->width * channels : channels;
    const uint8_t *rows = window_rows(step, conv, row, &stride);
    uint8_t *out = row_of(target, row);

    for (x = 0; x < target->width; x++) {
        const int8_t *weights = conv->weights;

        for (filter = 0; filter < target->channels; filter++) {
            const uint8_t *window = rows + x * conv->stride * source->channels + filter * conv->groups / target->channels * channels;
            int32_t sum = 0;

            for (ky = 0; ky < conv->height; ky++)
                for (tap = 0; tap < taps; tap++) {
                    sum += dot(window + ky * stride + tap * conv->right * source->channels, weights, count);
                    weights += count;
                }
            put(target, out, x * target->channels + filter,
                requantized(&conv->rule, sum, conv->rule.multipliers[filter], offset_of(&conv->rule, filter)));
        }
    }
}
