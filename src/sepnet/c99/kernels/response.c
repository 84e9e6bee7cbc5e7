/* Local response normalization: the factor of a sum of squares lies on a straight line between two entries of the table. */
struct response {
    struct rule rule;
    const int16_t *table;
    uint8_t shift, half;
};

static void response(const struct operation *step, int row)
{
    const struct response *norm = step->detail;
    const struct map *source = &maps[step->source];
    const uint8_t *in = row_of(source, row);
    uint8_t *out = row_of(&maps[step->target], row);
    int32_t multiplier = norm->rule.multipliers[0], offset = offset_of(&norm->rule, 0);
    int x, channel, channels = source->channels, half = norm->half, mask = (1 << norm->shift) - 1;

    for (x = 0; x < source->width; x++, in += channels, out += channels) {
        int32_t total = 0;

        for (channel = -half; channel < channels; channel++) {
            const int16_t *entry;
            int enters = channel + half < channels ? in[channel + half] - source->zero : 0;
            int leaves = channel - half - 1 >= 0 ? in[channel - half - 1] - source->zero : 0;

            total += enters * enters - leaves * leaves;
            if (channel < 0)
                continue;
            entry = norm->table + (total >> norm->shift);
            out[channel] = (uint8_t)requantized(&norm->rule, (in[channel] - source->zero) * (entry[0] + ((entry[1] - entry[0]) * (total & mask) >> norm->shift)),
                                                multiplier, offset);
        }
    }
}
