/* A program linked with one model, which adds two arrays of rows of four:
 *   moe-opt add.onnx -o add.so        makes add.so and add.h
 *   cc -I. example_linked.c ./add.so -o example && ./example */
#include "add.h"

#include <stdio.h>

static int failed(const moe_api *moe, const char *what) {
  fprintf(stderr, "%s: %s\n", what, moe->error());
  return 1;
}

int main(void) {
  const moe_api *moe = moe_add_api(MOE_API_MAJOR);
  if (!moe)
    return fprintf(stderr, "add.so has another interface than add.h\n"), 1;
  moe_session *session;
  if (moe->session_create(NULL, &session) != MOE_OK)
    return failed(moe, "session");

  float x[2][4] = {{1, 2, 3, 4}, {5, 6, 7, 8}};
  float y[2][4] = {{10, 20, 30, 40}, {50, 60, 70, 80}};
  moe_tensor first = {x, MOE_F32, 2, {2, 4}}, second = {y, MOE_F32, 2, {2, 4}};
  moe_tensor sum; /* the session's: lives until its next run */
  if (moe->set_input(session, "x", &first) != MOE_OK ||
      moe->set_input(session, "y", &second) != MOE_OK)
    return failed(moe, "input");
  if (moe->run(session) != MOE_OK)
    return failed(moe, "run");
  if (moe->get_output(session, "sum", &sum) != MOE_OK)
    return failed(moe, "output");
  for (int i = 0; i < 8; ++i)
    printf("%g%c", ((const float *)sum.data)[i], i % 4 == 3 ? '\n' : ' ');
  moe->session_destroy(session);
  return 0;
}
