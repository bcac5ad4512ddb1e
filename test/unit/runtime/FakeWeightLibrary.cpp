// A model whose weights come with set_weights.
#include "test/unit/runtime/FakeModels.h"

extern "C" {
extern moert_model moert_model_descriptor;
moert_model moert_model_descriptor = moe::test::weightModel();
}
