/* The rule has a multiplier and an offset a channel for numbers of 0 and more, and then for those below. */
static void slope(const struct operation *step, int row)
{
    const struct rule *rule = step->detail;
    const struct map *source = &maps[step->source];
    const uint8_t *in = row_of(source, row);
    uint8_t *out = row_of(&maps[step->target], row);
    int x, channel, channels = source->channels;

    for (x = 0; x < source->width; x++)
        for (channel = 0; channel < channels; channel++) {
            int number = *in++ - source->zero, at = number < 0 ? channels + channel : channel;

            *out++ = (uint8_t)requantized(rule, number, rule->multipliers[at], offset_of(rule, at));
        }
}
