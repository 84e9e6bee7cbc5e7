struct softmax {
    const int16_t *low, *high;
    uint16_t one;
};

static void softmax(const struct operation *step, int row)
{
    const struct softmax *shares = step->detail;
    const struct map *source = &maps[step->source], *target = &maps[step->target];
    const uint8_t *in = row_of(source, row);
    uint8_t *out = row_of(target, row);
    int x, channel, channels = source->channels, most = target->bytes == 1 ? 255 : 32767;

    for (x = 0; x < source->width; x++, in += channels * source->bytes) {
        uint32_t total;
        int largest = largest_of(source, in, shares->low, shares->high, &total);

        for (channel = 0; channel < channels; channel++) {
            uint32_t power = power_of(shares->low, shares->high, largest - number_at(source, in, channel));
            int share = (int)((power * shares->one + (total >> 1)) / total) + target->zero;

            put(target, out, x * channels + channel, share < most ? share : most);
        }
    }
}
