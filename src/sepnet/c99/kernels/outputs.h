/* Number `at` of the outputs of the last run, which follow one another: those of output K are MODEL_OUTPUT_K_FIRST and the
 * MODEL_OUTPUT_K_SIZE - 1 behind, in the order of its sides; a number q stands for
 * MODEL_OUTPUT_K_SCALE * (q - MODEL_OUTPUT_K_ZERO). */
int model_output(int at);

/* Copies the MODEL_OUTPUT_K_SIZE numbers of output K. */
void model_copy(int output, int16_t *numbers);
