/* The rows of windows that make an output row, one under the other, zeros around them; *stride is from one to the next. */
static const uint8_t *window_rows(const struct operation *step, const struct conv *conv, int row, int *stride)
{
    const struct map *source = &maps[step->source];
    int first = row * step->stride - step->top, channels = source->channels, ky;
    int left = conv->left * channels, inside = source->width * channels, whole = conv->padded * channels;
    uint8_t *copy = arena.bytes + conv->scratch;

    if (conv->direct) {
        *stride = inside * conv->down;
        return row_of(source, first);
    }
    *stride = whole;
    if (inside > whole - left)
        inside = whole - left;
    memset(copy, source->zero, (size_t)(whole * conv->height));
    for (ky = 0; ky < conv->height; ky++) {
        int at = first + ky * conv->down;

        if (at >= 0 && at < source->height)
            memcpy(copy + ky * whole + left, row_of(source, at), (size_t)inside);
    }
    return copy;
}
