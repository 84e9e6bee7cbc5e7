/* For processors with vectors: parts x 16 filters x height x width x channels / 4 times `sixteen` weights of `format` bytes;
 * rows of windows are runs of channels, or of all their columns where these follow one another.  Makes the whole map. */
static void conv_lanes(const struct operation *step)
{
    const struct conv *conv = step->detail;
    int pixel = maps[step->source].channels, channels = pixel / conv->groups, filters = maps[step->target].channels / conv->groups;
    int whole = conv->groups == 1 && conv->right == 1, run = whole ? conv->width * channels : channels;
    int taps = whole ? 1 : conv->width, words = (run + 3) / 4, part, first, at;
    uint8_t *scratch = arena.bytes + conv->scratch + (-(uintptr_t)(arena.bytes + conv->scratch) & 63);
    int32_t *offsets = (int32_t *)(void *)scratch;
    struct field field = {0, offsets, 0, (conv->direct ? maps[step->source].width : conv->padded) * pixel, conv->height * taps * words};
    const uint8_t *weights = conv->weights;

    for (at = 0; at < field.words; at++)
        offsets[at] = at / words / taps * conv->down * field.pitch + at / words % taps * conv->right * pixel + at % words * 4;
    field.unpacked = scratch + (field.words + 15) / 16 * 64;
    field.at = conv->direct ? row_of(&maps[step->source], 0) : with_margins(step, field.unpacked + 2 * field.words * UNPACKED);
    for (part = 0; part < conv->groups; part++, field.at += channels)
        for (first = 0; first < filters; first += 32) {
            int last = filters - first, blocks = last > 16 ? 2 : 1;

            filter_lanes(step, &field, part * filters + first, last, weights, blocks);
            weights += blocks * field.words * conv->format;
        }
}
