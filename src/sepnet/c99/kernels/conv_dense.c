/* Weights of 8 bits: filters x height x width x channels of a group. */
static void conv_dense(const struct operation *step, int row)
{
    const struct conv *conv = step->detail;
    const struct map *source = &maps[step->source], *target = &maps[step->target];
    int channels = source->channels / conv->groups, filters = target->channels / conv->groups, x, part, filter;
    int count = conv->height * conv->width * channels;
    uint8_t *copy = arena.bytes + conv->scratch, *out = row_of(target, row);

    for (x = 0; x < target->width; x++) {
        const int8_t *weights = conv->weights;

        for (part = 0; part < conv->groups; part++) {
            const uint8_t *window = copy;

            if (conv->direct)
                window = row_of(source, row * step->stride) + x * conv->stride * source->channels + part * channels;
            else
                gather_window(step, row, x, part * channels, channels, copy);
            for (filter = part * filters; filter < (part + 1) * filters; filter++, weights += count)
                put(target, out, x * target->channels + filter,
                    requantized(&conv->rule, dot(window, weights, count), conv->rule.multipliers[filter], offset_of(&conv->rule, filter)));
        }
    }
}
