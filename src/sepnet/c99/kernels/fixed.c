/* Detail: the numbers of all rows. */
static void fixed(const struct operation *step, int row)
{
    const struct map *target = &maps[step->target];
    size_t size = (size_t)target->width * target->channels;

    memcpy(row_of(target, row), (const uint8_t *)step->detail + (size_t)row * size, size);
}
