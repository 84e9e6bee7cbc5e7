#if defined(__GNUC__)
#define INLINE static inline __attribute__((always_inline))
#else
#define INLINE static inline
#endif

/* Like scale_lanes(), by 64-bit products. */
static void scale_each(const struct map *target, const struct rule *rule, int filter, const lanes *sums, int count, int pixel, uint8_t *out)
{
    int32_t numbers[16];
    int lane;

    for (; count > 0; count--, sums++, out += pixel)
        for (store_lanes(numbers, *sums), lane = 0; lane < 16 && filter + lane < target->channels; lane++)
            put(target, out, lane, requantized(rule, numbers[lane], rule->multipliers[filter + lane], offset_of(rule, filter + lane)));
}

/* What windows lie in, rows of `pitch` bytes: `words` words of four numbers, at `offsets` from where a window begins. */
struct field {
    const uint8_t *at;
    const int32_t *offsets;
    uint8_t *unpacked;
    int pitch, words;
};

/* The source with its margins, the rows one under the other. */
static const uint8_t *with_margins(const struct operation *step, uint8_t *copy)
{
    const struct conv *conv = step->detail;
    const struct map *source = &maps[step->source];
    int rows = (maps[step->target].height - 1) * step->stride + step->reach + 1, row, pixel = source->channels;
    int left = conv->left * pixel, pitch = conv->padded * pixel, inside = source->width * pixel;
    uint8_t *to = copy;

    if (inside > pitch - left)
        inside = pitch - left;
    for (row = -step->top; row < rows - step->top; row++, to += pitch) {
        if (row < 0 || row >= source->height || inside <= 0) {
            memset(to, source->zero, (size_t)pitch);
            continue;
        }
        memset(to, source->zero, (size_t)left);
        memcpy(to + left, row_of(source, row), (size_t)inside);
        memset(to + left + inside, source->zero, (size_t)(pitch - left - inside));
    }
    return copy;
}

/* Two blocks of 16 filters at PLACES places, from[...] on, or one block at these and their neighbours to the right, `hop`
 * bytes on.  `bytes` and `blocks` are constants wherever it is called. */
INLINE void sum_lanes(const struct field *field, const uint8_t *const *from, int hop, const uint8_t *weights, int bytes, int blocks, lanes sums[2][PLACES])
{
    const int32_t *offset = field->offsets, *end = offset + field->words;
    int size = field->words * bytes;

#define BEGIN(n) \
    const uint8_t *in##n = from[n]; \
    lanes s##n = no_sum(), t##n = no_sum();
#define ADD(n) \
    numbers = four_at(in##n + *offset); \
    s##n = added(s##n, numbers, first); \
    t##n = blocks == 2 ? added(t##n, numbers, second) : added(t##n, four_at(in##n + *offset + hop), first);
#define END(n) sums[0][n] = s##n, sums[1][n] = t##n;
    EACH_PLACE(BEGIN)
    for (; offset < end; offset++, weights += bytes) {
        sixteen first = weights_at(weights, bytes), second = weights_at(weights + (blocks - 1) * size, bytes);
        fours numbers;

        EACH_PLACE(ADD)
    }
    EACH_PLACE(END)
#undef BEGIN
#undef ADD
#undef END
}

/* Functions of their own, called by their address, so that the registers are free for the sums. */
typedef void sum_function(const struct field *field, const uint8_t *const *from, int hop, const uint8_t *weights, lanes sums[2][PLACES]);

#define SUM(name, bytes, blocks) \
    static void name(const struct field *field, const uint8_t *const *from, int hop, const uint8_t *weights, lanes sums[2][PLACES]) \
    { \
        sum_lanes(field, from, hop, weights, bytes, blocks, sums); \
    }
SUM(sum_two_places, UNPACKED, 1)
SUM(sum_two_blocks, UNPACKED, 2)
#if UNPACKED == 8
SUM(sum_two_places_of_bytes, 64, 1)
SUM(sum_two_blocks_of_bytes, 64, 2)

static sum_function *sum_of(int blocks, int bytes)
{
    if (bytes == 8)
        return blocks == 2 ? sum_two_blocks : sum_two_places;
    return blocks == 2 ? sum_two_blocks_of_bytes : sum_two_places_of_bytes;
}

static const uint8_t *unpack(const struct field *field, const uint8_t *weights, int bytes, int blocks)
{
    (void)field, (void)bytes, (void)blocks;
    return weights;
}
#else
static sum_function *sum_of(int blocks, int bytes)
{
    (void)bytes;
    return blocks == 2 ? sum_two_blocks : sum_two_places;
}

/* The weights of one or two blocks of 16 filters as they are summed up with. */
static const uint8_t *unpack(const struct field *field, const uint8_t *weights, int bytes, int blocks)
{
    int word;

    if (bytes == UNPACKED)
        return weights;
    for (word = 0; word < blocks * field->words; word++)
        unpack_at(field->unpacked + word * UNPACKED, weights + word * bytes, bytes);
    return field->unpacked;
}
#endif
#undef SUM

/* Filters `filter` on, one or two blocks of 16 of which `last` are filters, at all places of the map. */
static void filter_lanes(const struct operation *step, const struct field *field, int filter, int last, const uint8_t *weights, int blocks)
{
    const struct conv *conv = step->detail;
    const struct map *target = &maps[step->target];
    int hop = conv->stride * maps[step->source].channels, count = target->height * target->width, pixel = target->channels * target->bytes;
    int columns = blocks == 1 && target->width % 2 == 0 ? 2 : 1, aside = blocks == 2 ? 16 * target->bytes : pixel, at, place, other, x = 0;
    const uint8_t *row = field->at;
    uint8_t *out = row_of(target, 0) + filter * target->bytes;
    sum_function *sum = sum_of(blocks, conv->format);
    struct scale scale[2];

    weights = unpack(field, weights, conv->format, blocks);
    scale[0] = scale_of(&conv->rule, filter, last < 16 ? last : 16);
    scale[1] = blocks == 2 ? scale_of(&conv->rule, filter + 16, last < 32 ? last - 16 : 16) : scale[0];
    for (at = 0; at < count; at += PLACES * columns) {
        const uint8_t *from[PLACES];
        lanes sums[2][PLACES];

        for (place = 0; place < PLACES; place++) { /* behind the last place it stays there, and nothing is stored below */
            from[place] = row + x * hop;
            if (at + (place + 1) * columns < count && (x += columns) == target->width)
                x = 0, row += step->stride * field->pitch;
        }
        sum(field, from, columns == 2 ? hop : 0, weights, sums);
        place = (count - at) / columns < PLACES ? (count - at) / columns : PLACES;
        for (other = 0; other < (blocks == 2 ? 2 : columns); other++)
            if (conv->rule.is_long)
                scale_each(target, &conv->rule, filter + (blocks == 2 ? 16 * other : 0), sums[other], place, columns * pixel, out + other * aside);
            else
                scale_lanes(&scale[other], sums[other], place, target->bytes, columns * pixel, out + other * aside);
        out += place * columns * pixel;
    }
}
