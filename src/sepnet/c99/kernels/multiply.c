/* The second value may be one number a channel. */
static void multiply(const struct operation *step, int row)
{
    const struct rule *rule = step->detail;
    const struct map *source = &maps[step->source], *target = &maps[step->target], *second = &maps[step->second];
    const uint8_t *a = row_of(source, row), *b = row_of(second, second->height == 1 ? 0 : row);
    int32_t multiplier = rule->multipliers[0], offset = offset_of(rule, 0);
    int x, channel, hop = second->width == 1 ? 0 : target->channels;
    uint8_t *out = row_of(target, row);

    for (x = 0; x < target->width; x++, b += hop)
        for (channel = 0; channel < target->channels; channel++)
            *out++ = (uint8_t)requantized(rule, (*a++ - source->zero) * (b[channel] - second->zero), multiplier, offset);
}
