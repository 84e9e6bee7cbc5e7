/* Detail: for each row and then each column two of the source, and how much of the second there is, in 256ths. */
static void blend(const struct operation *step, int row)
{
    const struct map *source = &maps[step->source], *target = &maps[step->target];
    const uint16_t *down = (const uint16_t *)step->detail + 3 * row, *right = (const uint16_t *)step->detail + 3 * target->height;
    const uint8_t *high = row_of(source, down[0]), *low = row_of(source, down[1]);
    uint8_t *out = row_of(target, row);
    int x, channel, channels = source->channels;

    for (x = 0; x < target->width; x++, right += 3) {
        int a = right[0] * channels, b = right[1] * channels;
        int32_t from = 256 - right[2], to = right[2], above = 256 - down[2], below = down[2];

        for (channel = 0; channel < channels; channel++, a++, b++)
            *out++ = (uint8_t)(((high[a] * from + high[b] * to) * above + (low[a] * from + low[b] * to) * below + (1 << 15)) >> 16);
    }
}
