static union {
    uint32_t words[MODEL_ARENA_BYTES / 4];
    uint8_t bytes[MODEL_ARENA_BYTES];
} arena;

/* A value: height x width x channels numbers of `bytes` bytes at an offset of the arena, `rows` rows of which are kept. */
struct map {
    uint32_t at;
    uint16_t height, width, channels, rows;
    uint8_t zero, bytes;
};

/* (sum * multipliers[c] + offsets[c] * 2^offset_shift) >> shift, clamped to low .. high. */
struct rule {
    const int16_t *multipliers;
    const void *offsets;
    uint8_t offset_bytes, offset_shift, shift, is_long;
    int16_t low, high;
};

/* An operator makes rows: its row r reads rows r * stride - top to r * stride - top + reach of its sources. */
struct operation {
    const void *detail;
    uint16_t source, second, target, reach;
    uint8_t kind, stride, top;
};

#define PART 64 /* numbers that lie on the stack at a time */

typedef char right_shifts_keep_the_sign[(-3 >> 1) == -2 ? 1 : -1];

static uint8_t *row_of(const struct map *map, int row)
{
    while (row >= map->rows)
        row -= map->rows;
    return arena.bytes + map->at + (uint32_t)row * map->width * map->channels * map->bytes;
}

static void put(const struct map *map, uint8_t *row, int at, int number)
{
    if (map->bytes == 1) {
        row[at] = (uint8_t)number;
    } else {
        row[2 * at] = (uint8_t)(number & 255);
        row[2 * at + 1] = (uint8_t)((number >> 8) & 255);
    }
}

static int32_t offset_of(const struct rule *rule, int at)
{
    int32_t offset;

    if (rule->offset_bytes == 2)
        offset = ((const int16_t *)rule->offsets)[at];
    else
        offset = ((const int32_t *)rule->offsets)[at];
#if MODEL_LONG
    if (rule->is_long)
        return offset;
#endif
    return offset * (int32_t)((uint32_t)1 << rule->offset_shift);
}

/* `offset` is that of offset_of. */
static int requantized(const struct rule *rule, int32_t sum, int32_t multiplier, int32_t offset)
{
    int32_t number;

#if MODEL_LONG
    if (rule->is_long) {
        int64_t whole = (int64_t)sum * multiplier + (int64_t)offset * ((int64_t)1 << rule->offset_shift);

        whole >>= rule->shift;
        return whole < rule->low ? rule->low : whole > rule->high ? rule->high : (int)whole;
    }
#endif
    number = (sum * multiplier + offset) >> rule->shift;
    return number < rule->low ? rule->low : number > rule->high ? rule->high : (int)number;
}
