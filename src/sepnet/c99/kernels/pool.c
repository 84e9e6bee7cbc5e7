struct pool {
    struct rule rule;
    const uint16_t *counts;
    uint16_t height, width;
    uint8_t stride, left;
};
