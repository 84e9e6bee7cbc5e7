struct log_softmax {
    struct rule rule;
    const int16_t *low, *high, *logs;
};

static void log_softmax(const struct operation *step, int row)
{
    const struct log_softmax *shares = step->detail;
    const struct map *source = &maps[step->source], *target = &maps[step->target];
    const uint8_t *in = row_of(source, row);
    uint8_t *out = row_of(target, row);
    int x, channel, channels = source->channels;
    int32_t first = shares->rule.multipliers[0], second = shares->rule.multipliers[1], offset = offset_of(&shares->rule, 0);

    for (x = 0; x < source->width; x++, in += channels * source->bytes) {
        uint32_t total;
        int largest = largest_of(source, in, shares->low, shares->high, &total), bits = 32;
        int32_t logarithm;

        for (; !(total >> 31); bits--)
            total <<= 1;
        logarithm = shares->logs[total >> 24 & 127] + (bits - 16) * shares->logs[128];
        for (channel = 0; channel < channels; channel++) {
            int32_t below = number_at(source, in, channel) - largest;

#if MODEL_LONG
            if (shares->rule.is_long) {
                int64_t whole = (int64_t)below * first + (int64_t)logarithm * second + (int64_t)offset * ((int64_t)1 << shares->rule.offset_shift);

                whole >>= shares->rule.shift;
                put(target, out, x * channels + channel,
                    whole < shares->rule.low ? shares->rule.low : whole > shares->rule.high ? shares->rule.high : (int)whole);
                continue;
            }
#endif
            put(target, out, x * channels + channel, requantized(&shares->rule, below * first + logarithm * second, 1, offset));
        }
    }
}
