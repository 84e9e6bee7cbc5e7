static void gather(const struct operation *step, int row)
{
    const uint16_t *order = step->detail;
    const struct map *source = &maps[step->source], *target = &maps[step->target];
    const uint8_t *in = row_of(source, row);
    uint8_t *out = row_of(target, row);
    int x, channel;

    for (x = 0; x < target->width; x++, in += source->channels)
        for (channel = 0; channel < target->channels; channel++)
            *out++ = in[order[channel]];
}
