/* 65536 products of a number of 8 bits and a weight add up to less than 2^31, whatever they are; such sums are added in 64 bits. */
static int64_t dot_long(const uint8_t *numbers, const int8_t *weights, int count)
{
    int64_t sum = 0;

    for (; count > 65536; numbers += 65536, weights += 65536, count -= 65536)
        sum += dot(numbers, weights, 65536);
    return sum + dot(numbers, weights, count);
}

/* conv_dense() where sums need more than 32 bits. */
static void conv_dense_long(const struct operation *step, int row)
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
                    requantized_long(&conv->rule, dot_long(window, weights, count), conv->rule.multipliers[filter], offset_of(&conv->rule, filter)));
        }
    }
}
