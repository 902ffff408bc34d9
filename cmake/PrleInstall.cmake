# cmake --install: prle, libprle.so, the headers of its rooms under include/prle/, and prle.pc.
install(TARGETS prle RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
install(PROGRAMS ${CMAKE_SOURCE_DIR}/slurm/train.sbatch ${CMAKE_SOURCE_DIR}/slurm/static-stage.sbatch
  DESTINATION ${CMAKE_INSTALL_DATADIR}/prle/slurm)
install(TARGETS prle_shared LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
foreach(room IN ITEMS core nets augment dist cam fusion)
  install(DIRECTORY ${CMAKE_SOURCE_DIR}/${room} DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/prle FILES_MATCHING
    PATTERN "*.h" PATTERN "*_impl.h" EXCLUDE PATTERN "*_internal.h" EXCLUDE
    PATTERN "*_cuda.h" EXCLUDE PATTERN "*_cudnn.h" EXCLUDE) # of the plugin, which nobody links to
endforeach()
string(REGEX REPLACE "[^/]+" ".." PRLE_LIBDIR_UP "${CMAKE_INSTALL_LIBDIR}") # from the library folder to the prefix
configure_file(${CMAKE_SOURCE_DIR}/cmake/prle.pc.in ${CMAKE_BINARY_DIR}/prle.pc @ONLY)
install(FILES ${CMAKE_BINARY_DIR}/prle.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
