static void make_row(const struct operation *step, int row)
{
    switch (step->kind) {
@CASES@
    }
}

uint8_t *model_input(void)
{
    return arena.bytes + maps[0].at;
}

int model_output(int at)
{
    const struct map *map = &maps[sizeof maps / sizeof *maps - 1];
    const uint8_t *out = arena.bytes + map->at;
    int size = map->width * map->height, from = at % size * map->channels + at / size;

    return map->bytes == 1 ? out[from] : (int16_t)(out[2 * from] | out[2 * from + 1] << 8);
}
