plugins {
    alias(libs.plugins.kotlin.jvm)
    `maven-publish`
}

java {
    sourceCompatibility = JavaVersion.VERSION_1_8
    targetCompatibility = JavaVersion.VERSION_1_8
    withSourcesJar()
}

kotlin {
    explicitApi()
}

publishing {
    publications.create<MavenPublication>("library") {
        artifactId = "mnet-coroutines"
        from(components["java"])
    }
}

dependencies {
    api(project(":core"))
    api(libs.coroutines)
    testImplementation(libs.junit)
    testRuntimeOnly(libs.junit.launcher)
}

tasks.test {
    useJUnitPlatform()
    systemProperty("mnet.vectors", rootDir.resolve("../tests/vectors").path)
}
