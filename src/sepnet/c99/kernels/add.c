#define PART 64

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
