/* Classifies images: reads MODEL_INPUT_BYTES bytes an image from the standard input, prints the class and all outputs. */
#include <stdio.h>

#include "model.h"

int main(void)
{
    while (fread(model_input(), 1, MODEL_INPUT_BYTES, stdin) == MODEL_INPUT_BYTES) {
        int best = 0, at;

        model_run();
        for (at = 1; at < MODEL_OUTPUTS; at++)
            if (model_output(at) > model_output(best))
                best = at;
        printf("%d:", best);
        for (at = 0; at < MODEL_OUTPUTS; at++)
            printf(" %d", model_output(at));
        printf("\n");
    }
    return 0;
}
