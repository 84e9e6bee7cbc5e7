/* How many numbers an output has, and in which map; `lies` says that they are read as they lie, not channel by channel. */
static const struct {
    int32_t size;
    uint16_t map;
    uint8_t lies;
} outputs[] = {
@OUTPUTS@
};

int model_output(int at)
{
    int which = 0, size, from;
    const struct map *map;
    const uint8_t *out;

    while (at >= outputs[which].size)
        at -= outputs[which++].size;
    map = &maps[outputs[which].map];
    out = arena.bytes + map->at;
    size = map->width * map->height;
    from = outputs[which].lies ? at : at % size * map->channels + at / size;
    return map->bytes == 1 ? out[from] : (int16_t)(out[2 * from] | out[2 * from + 1] << 8);
}

void model_copy(int output, int16_t *numbers)
{
    int first = 0, at;

    for (at = 0; at < output; at++)
        first += (int)outputs[at].size;
    for (at = 0; at < outputs[output].size; at++)
        numbers[at] = (int16_t)model_output(first + at);
}
