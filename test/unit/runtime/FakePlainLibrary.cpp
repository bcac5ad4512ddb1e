// The language model without a cache as moe-opt would emit it.
#include "test/unit/runtime/FakeModels.h"

extern "C" {
extern moert_model moert_model_descriptor;
moert_model moert_model_descriptor = moe::test::plainModel(false);
}
