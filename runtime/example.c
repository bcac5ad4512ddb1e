/* Runs any model library once on zeros:
 *   cc example.c -o example -ldl && ./example ./model.so */
#include "runtime/moe_runtime.h" /* installed: "moe_runtime.h" */

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

typedef const moe_api *(*get_api)(uint32_t major);

static int failed(const moe_api *moe, const char *what) {
  fprintf(stderr, "%s: %s\n", what, moe->error());
  return 1;
}

int main(int argc, char **argv) {
  void *library = argc > 1 ? dlopen(argv[1], RTLD_NOW | RTLD_LOCAL) : NULL;
  get_api get = library ? (get_api)dlsym(library, "moe_model_api") : NULL;
  const moe_api *moe = get ? get(MOE_API_MAJOR) : NULL;
  if (!moe)
    return fprintf(stderr, "usage: %s ./model.so\n", argv[0]), 2;

  moe_session *session;
  if (moe->session_create(NULL, &session) != MOE_OK)
    return failed(moe, "session");
  for (uint32_t i = 0; i < moe->num_inputs(); ++i) {
    const moe_port *port = moe->input(i);
    moe_tensor tensor = {NULL, port->dtype, port->rank, {0}};
    int64_t bytes = 8; /* no element is larger */
    for (int d = 0; d < port->rank; ++d)
      bytes *= tensor.shape[d] = port->dims[d] < 0 ? 1 : port->dims[d];
    tensor.data = calloc(1, bytes); /* ours: lives until after run() */
    if (moe->set_input(session, port->name, &tensor) != MOE_OK)
      return failed(moe, port->name);
  }
  if (moe->run(session) != MOE_OK)
    return failed(moe, "run");
  for (uint32_t i = 0; i < moe->num_outputs(); ++i) {
    moe_tensor tensor; /* the session's: lives until its next run */
    if (moe->get_output(session, moe->output(i)->name, &tensor) != MOE_OK)
      return failed(moe, moe->output(i)->name);
    printf("%s: rank %d, first size %lld\n", moe->output(i)->name,
           (int)tensor.rank, tensor.rank ? (long long)tensor.shape[0] : 1LL);
  }
  moe->session_destroy(session);
  return 0;
}
