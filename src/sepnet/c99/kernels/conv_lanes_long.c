/* filter_lanes() where sums need more than 32 bits: these hold them for 16384 words of four numbers, whatever they are. */
static void filter_lanes_long(const struct operation *step, const struct field *field, int filter, int last, const uint8_t *weights)
{
    const struct conv *conv = step->detail;
    const struct map *target = &maps[step->target];
    int hop = conv->stride * maps[step->source].channels, count = target->height * target->width, pixel = target->channels * target->bytes;
    int columns = target->width % 2 == 0 ? 2 : 1, bytes = UNPACKED == 8 ? conv->format : UNPACKED, at, place, other, lane, x = 0;
    const uint8_t *row = field->at;
    uint8_t *out = row_of(target, 0) + filter * target->bytes;
    sum_function *sum = sum_of(1, conv->format);

    weights = unpack(field, weights, conv->format, 1);
    for (at = 0; at < count; at += PLACES * columns) {
        const uint8_t *from[PLACES];
        struct field run = *field;
        int64_t wholes[2][PLACES][16];

        memset(wholes, 0, sizeof wholes);
        for (place = 0; place < PLACES; place++) {
            from[place] = row + x * hop;
            if (at + (place + 1) * columns < count && (x += columns) == target->width)
                x = 0, row += step->stride * field->pitch;
        }
        for (; run.offsets < field->offsets + field->words; run.offsets += run.words) {
            int done = (int)(run.offsets - field->offsets);
            lanes sums[2][PLACES];
            int32_t numbers[16];

            run.words = field->words - done < 16384 ? field->words - done : 16384;
            sum(&run, from, columns == 2 ? hop : 0, weights + done * bytes, sums);
            for (other = 0; other < columns; other++)
                for (place = 0; place < PLACES; place++)
                    for (store_lanes(numbers, sums[other][place]), lane = 0; lane < 16; lane++)
                        wholes[other][place][lane] += numbers[lane];
        }
        for (place = 0; place < PLACES * columns && at + place < count; place++, out += pixel)
            for (lane = 0; lane < 16 && lane < last; lane++)
                put(target, out, lane, requantized_long(&conv->rule, wholes[place % columns][place / columns][lane],
                                                        conv->rule.multipliers[filter + lane], offset_of(&conv->rule, filter + lane)));
    }
}

/* What conv_lanes() calls where there is such a layer. */
static void filter_lanes_of_any(const struct operation *step, const struct field *field, int filter, int last, const uint8_t *weights, int blocks)
{
    const struct conv *conv = step->detail;
    int block;

    if (conv->rule.is_long < 2) {
        filter_lanes(step, field, filter, last, weights, blocks);
        return;
    }
    for (block = 0; block < blocks; block++)
        filter_lanes_long(step, field, filter + 16 * block, last - 16 * block, weights + block * field->words * conv->format);
}
#define filter_lanes filter_lanes_of_any
